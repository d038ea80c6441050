"""The page in a real browser: Debian's chromium and chromium-driver, headless. Skipped where there is none.

The accessibility check needs axe-core besides: ``npm install --no-save axe-core`` in the repository.
"""

import base64
import json
import shutil
from pathlib import Path

import pytest

from tests.reports.made_up import HOSTILE, LONG, bench, made_up
from tokenbench_reports.html import render_page

selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install tokenbench[test]")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromium-driver on this machine"),
]
AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
LOSES = {"good": 0.0, "fair": 0.1, "bad": 0.5, "random": 0.7}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars")
    for flag in (*flags, f"user-data-dir={tmp_path_factory.mktemp('profile')}", "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(DRIVER))
    browser.get("about:blank")
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(*made_up(LOSES, about={"bench": [bench()]})))
    return path.as_uri()


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    path = tmp_path_factory.mktemp("several") / "report.html"
    path.write_text(render_page(*made_up({"good": 0.0, "bad": 0.5}, models=("small", "large"))))
    return path.as_uri()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    loses = {HOSTILE: 0.1, LONG: 0.4, "x" * 10_000: 0.2}
    text = HOSTILE + LONG
    about = {"bench": [bench(HOSTILE, tuple(loses))]}
    path.write_text(
        render_page(*made_up(loses, question=text, answer=text, about=about, models=(HOSTILE,), tasks=(HOSTILE, "b")))
    )
    return path.as_uri()


def opened(driver, address, scheme="light", width=1280):
    driver.get_log("browser"), driver.get_log("performance")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(address)
    return driver


def texts(driver, selector):
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(n => n.offsetParent).map(n => n.textContent.trim())",
        selector,
    )


def click(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def choose(driver, selector, value):
    driver.execute_script(
        "const n = document.querySelector(arguments[0]); n.value = arguments[1]; n.dispatchEvent(new Event('input', {bubbles: true}))",
        selector,
        value,
    )


@pytest.mark.parametrize("kind", ["address", "hostile"])
def test_nothing_is_asked_of_the_network_and_nothing_fails(driver, kind, request):
    opened(driver, request.getfixturevalue(kind))
    driver.execute_async_script("setTimeout(arguments[0], 300)")
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("data:", "file:", "chrome:"))] == []
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_hostile_strings_do_no_harm(driver, hostile):
    opened(driver, hostile)
    assert "owned" not in driver.title.replace(HOSTILE, "")[:6]
    assert driver.execute_script("return document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert driver.execute_script("return document.querySelectorAll('script').length") == 3
    assert driver.title.startswith("Visual-token pruning compared on <script>")


@pytest.mark.parametrize("kind", ["address", "several", "hostile"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_fits_its_window(driver, kind, width, request):
    opened(driver, request.getfixturevalue(kind), width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["address", "several"])
def test_axe_finds_no_violation(driver, kind, scheme, width, request):
    if not AXE.exists():
        pytest.skip("no axe-core: npm install --no-save axe-core")
    opened(driver, request.getfixturevalue(kind), scheme, width).execute_script(AXE.read_text())
    violations = driver.execute_async_script("axe.run(document).then(found => arguments[0](found.violations))")
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in violations] == []


def test_a_header_sorts_up_and_down(driver, address):
    opened(driver, address)
    column = "#cells0 tbody td:nth-child(3) .text"
    before = texts(driver, column)
    click(driver, "#cells0 thead th:nth-child(3) button")
    down = [float(text.split()[0]) for text in texts(driver, column)]
    click(driver, "#cells0 thead th:nth-child(3) button")
    up = [float(text.split()[0]) for text in texts(driver, column)]
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert sorted(before) == sorted(texts(driver, column))
    assert (
        driver.execute_script("return document.querySelector('#cells0 thead th:nth-child(3)').ariaSort") == "ascending"
    )


def test_words_and_choices_filter(driver, address):
    opened(driver, address)
    choose(driver, '.tools[data-for="cells0"] input', "good")
    assert set(texts(driver, "#cells0 tbody th")) == {"good"}
    assert texts(driver, '.tools[data-for="cells0"] .count') == ["3 of 13 rows"]
    choose(driver, '.tools[data-for="cells0"] select', "1/4")
    assert texts(driver, "#cells0 tbody td:nth-child(2)") == ["1/4"]


def test_a_budget_is_shown_at_a_time(driver, address):
    opened(driver, address)
    assert texts(driver, "[data-budget] > h3")[0] == "Budget 1/2"
    click(driver, '[data-switch="budget"] button[value="1/9"]')
    assert set(texts(driver, "[data-budget] > h3")) == {"Budget 1/9"}
    assert all("1/9" in name or name == "vanilla" for name in texts(driver, "#gallery0 figcaption b"))


def test_axis_tolerance_and_legend_redraw_the_plot(driver, address):
    opened(driver, address)
    count = "return document.querySelectorAll('#plot0 .mark').length"
    assert driver.execute_script(count) == 13
    choose(driver, "#axis0", "cache_bytes")
    assert "KV cache" in driver.execute_script("return document.querySelector('#plot0 svg').ariaLabel")
    click(driver, "#legend0 button:nth-child(2)")
    assert driver.execute_script(count) == 10
    driver.execute_cdp_cmd(
        "Emulation.setFocusEmulationEnabled", {"enabled": True}
    )  # a window behind others has no focus
    driver.execute_script("document.querySelector('#plot0 .mark').focus()")
    assert "retention" in texts(driver, "#readout0")[0]


def test_light_and_dark_can_be_changed_by_hand(driver, address):
    opened(driver, address)
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(colour)
    click(driver, "#theme")
    assert driver.execute_script(colour) != light


def test_it_prints_every_budget(driver, address, tmp_path):
    opened(driver, address)
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 40 or len(pdf) > 50_000
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert {"Budget 1/2", "Budget 1/4", "Budget 1/9"} <= set(texts(driver, "[data-budget] > h3"))
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_script_the_tables_are_there(driver, address):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(driver, address)
        assert "Retention over the budgets" in driver.page_source
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
