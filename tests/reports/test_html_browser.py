"""The page in a real browser: Debian's chromium and chromium-driver, headless. Skipped where there is none.

The accessibility check needs axe-core besides: ``npm install --no-save axe-core`` in the repository, or its file in the
variable ``AXE``.
"""

import base64
import json
import os
from pathlib import Path

import pytest

from tests.reports.chromium import MARKS, opened, start, texts
from tests.reports.made_up import HOSTILE, LONG, bench, made_up
from tokenbench_reports.html import render_page

selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install tokenbench[test]")
pytestmark = MARKS
AXE = Path(os.environ.get("AXE", Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"))
LOSES = {"good": 0.0, "fair": 0.1, "bad": 0.5, "random": 0.7}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    browser = start(tmp_path_factory.mktemp("profile"))
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
def many(tmp_path_factory):
    path = tmp_path_factory.mktemp("many") / "report.html"
    loses = {f"method-{at}": 0.04 * at for at in range(16)} | {"random": 0.7, "downsample": 0.8}
    path.write_text(render_page(*made_up(loses, tasks=[f"task-{at}" for at in range(10)], images=30)))
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


def click(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def choose(driver, selector, value):
    driver.execute_script(
        "const n = document.querySelector(arguments[0]); n.value = arguments[1]; n.dispatchEvent(new Event('input', {bubbles: true}))",
        selector,
        value,
    )


def bottom(driver, selector):
    """The lower edge of the first visible element, from the top of the page."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(n => n.getClientRects().length)[0].getBoundingClientRect().bottom",
        selector,
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
    assert driver.execute_script("return window.owned") is None
    assert driver.title != "owned"
    assert driver.execute_script("return document.querySelectorAll('img[src=\"x\"]').length") == 0
    assert driver.execute_script("return document.querySelectorAll('script:not([type])').length") == 1


@pytest.mark.parametrize("kind", ["address", "several", "many", "hostile"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_fits_its_window_and_no_table_is_cut_off(driver, kind, width, request):
    opened(driver, request.getfixturevalue(kind), width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    wider = "return [...document.querySelectorAll('table')].filter(n => n.getBoundingClientRect().right > arguments[0] + 1).length"
    assert driver.execute_script(wider, width) == 0


@pytest.mark.parametrize("kind", ["address", "many"])
@pytest.mark.parametrize(("width", "height", "rows"), [(1280, 900, 2), (390, 844, 1)])
def test_the_first_screen_holds_headline_plot_and_first_rows(driver, kind, width, height, rows, request):
    opened(driver, request.getfixturevalue(kind), width=width, height=height)
    assert (
        bottom(driver, "h1")
        < bottom(driver, "svg.plot")
        < bottom(driver, f".res tbody tr:not(.name):nth-of-type({rows + 1})")
        <= height
    )
    assert texts(driver, "h1 .said") == texts(driver, "h1 .said")[:1]
    assert driver.execute_script("return scrollY") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["address", "several"])
def test_axe_finds_no_violation(driver, kind, scheme, width, request):
    if not AXE.exists():
        pytest.skip("no axe-core: npm install --no-save axe-core")
    driver.set_script_timeout(300)
    opened(driver, request.getfixturevalue(kind), scheme, width).execute_script(AXE.read_text())
    driver.execute_script("document.querySelectorAll('details').forEach(node => node.open = true)")
    violations = driver.execute_async_script("axe.run(document).then(found => arguments[0](found.violations))")
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in violations] == []


@pytest.mark.parametrize("script", [True, False])
def test_the_budget_governs_everything(driver, address, script):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
    try:
        opened(driver, address)
        for at, budget in enumerate(("1/2", "1/4", "1/9")):
            driver.find_element("css selector", f'label[for="b{at}"]').click()
            shown = driver.execute_script(
                "return [...new Set([...document.querySelectorAll('[data-b]')].filter(n => n.getClientRects().length).map(n => n.dataset.b))]"
            )
            assert shown == [str(at)]
            assert (
                f"at budget {budget}" in texts(driver, "h1")[0] or f"at budget {budget}" in texts(driver, "h1 .said")[0]
            )
            assert texts(driver, ".verdict")[0].startswith(f"At {budget}, ")
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_cost_control_swaps_the_plot_and_stays_visible(driver, address):
    opened(driver, address)
    for key in ("tokens", "flops", "cache", "time"):
        driver.find_element("css selector", f'label[for="{key}0"]').click()
        shown = "return [...document.querySelectorAll('.axis')].filter(n => n.getClientRects().length).map(n => n.dataset.cost)"
        assert driver.execute_script(shown) == [key]
        assert driver.find_element("css selector", 'label[for="tokens0"]').is_displayed()


def test_a_cost_that_was_not_measured_is_struck_out_and_says_how_to_measure_it(driver, several):
    opened(driver, several)
    label = driver.find_element("css selector", 'label[for="time0"]')
    assert "line-through" in label.value_of_css_property("text-decoration")
    label.click()
    assert "tokenbench bench -o RUN measures it" in texts(driver, ".absent")[0]


def test_the_keyboard_changes_the_budget(driver, address):
    from selenium.webdriver.common.keys import Keys

    opened(driver, address)
    driver.find_element("id", "b0").send_keys(Keys.ARROW_RIGHT)
    assert "1/4" in texts(driver, "h1 .said")[0]


def test_a_model_is_shown_at_a_time_and_every_headline_at_once(driver, several):
    opened(driver, several)
    assert len(texts(driver, ".headline")) == 2
    assert texts(driver, "h2.model") == ["large"]
    driver.find_element("css selector", 'label[for="m1"]').click()
    assert texts(driver, "h2.model") == ["small"]


def test_a_header_sorts_up_and_down(driver, address):
    opened(driver, address)
    column = "#results tbody tr:not(.floor):not(.van) td:nth-child(3)"
    click(driver, "#results th:nth-child(3) button")
    down = [float(text.split()[0]) for text in texts(driver, column)]
    click(driver, "#results th:nth-child(3) button")
    up = [float(text.split()[0]) for text in texts(driver, column)]
    assert down == sorted(down, reverse=True) == up[::-1]
    assert driver.execute_script("return document.querySelector('#results th:nth-child(3)').ariaSort") == "ascending"


def test_pointing_near_a_mark_writes_its_numbers(driver, address):
    opened(driver, address)
    driver.execute_script(
        "const box = document.querySelector('svg.plot .pt use').getBoundingClientRect();"
        "document.querySelector('svg.plot').dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: box.x + 9, clientY: box.y + 9}))"
    )
    assert " keeps " in texts(driver, ".readout")[0]


def test_the_counts_lead_to_their_questions_and_all_pairs_can_be_chosen(driver, address):
    opened(driver, address)
    for show in ("both", "only-a"):
        opened(driver, address)
        count = driver.find_element("css selector", f'.live .two a[href*="show={show}"]').text
        click(driver, f'.live .two a[href*="show={show}"]')
        assert texts(driver, '[data-part="status"]')[0] == f"{count} of 80 questions"
    opened(driver, address)
    choose(driver, '[data-role="b"]', "4")
    assert "vanilla" in texts(driver, ".verdict")[0]
    assert len([text for text in texts(driver, ".pane .who2") if text]) == 2


def test_a_script_shows_what_the_page_says_without_it(driver, address):
    opened(driver, address)
    visible = "return [...document.querySelectorAll(arguments[0])].filter(n => n.getClientRects().length).map(n => n.textContent.trim().replace(/\\s+/g, ' '))"
    dynamic = {
        name: driver.execute_script(visible, f".live {name}") for name in (".verdict", ".asked", ".who2", ".two td")
    }
    paths = driver.execute_script(
        "return [...document.querySelectorAll('.live .drop')].map(n => n.getAttribute('d').replaceAll(',', ' '))"
    )
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(driver, address)
        for name, said in dynamic.items():
            assert driver.execute_script(visible, f".still {name}") == said, name
        still = "return [...document.querySelectorAll('.still .drop')].filter(n => n.getClientRects().length).map(n => n.getAttribute('d').replaceAll(',', ' '))"
        assert driver.execute_script(still) == paths
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_light_and_dark_can_be_changed_by_hand(driver, address):
    opened(driver, address)
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(colour)
    click(driver, "#theme")
    assert driver.execute_script(colour) != light


def test_no_bold_stands_beside_a_loss(driver, address):
    opened(driver, address)
    heavy = (
        "return [...document.querySelectorAll('.res tr')].filter(row => row.querySelector('.loses')?.textContent === 'yes')"
        ".flatMap(row => [row, ...row.querySelectorAll('*')]).filter(node => Number(getComputedStyle(node).fontWeight) > 400).length"
    )
    assert driver.execute_script(heavy) == 0


def test_it_prints_every_budget_and_every_cost(driver, address):
    opened(driver, address)
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert {"Budget 1/2", "Budget 1/4", "Budget 1/9"} <= set(texts(driver, ".res .name"))
    shown = (
        "return [...document.querySelectorAll('.axis')].filter(n => n.getClientRects().length).map(n => n.dataset.cost)"
    )
    assert driver.execute_script(shown) == ["tokens", "flops", "cache", "time"]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_nothing_moves_for_readers_who_want_less_motion(driver, address):
    opened(driver, address)
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    )
    assert driver.execute_script("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"


@pytest.mark.parametrize("width", [1280, 400])
def test_every_name_beside_the_plot_is_whole(driver, tmp_path, width):
    loses = {"prumerge-adaptive": 0.0, "x" * 40: 0.2, "random": 0.7}
    path = tmp_path / "report.html"
    path.write_text(render_page(*made_up(loses)))
    opened(driver, path.as_uri(), width=width)
    over = driver.execute_script(
        "return [...document.querySelectorAll('svg text.nm')].filter(n => n.getClientRects().length).map(n => "
        "[n.textContent, n.getBoundingClientRect().right - n.ownerSVGElement.getBoundingClientRect().right])"
    )
    assert len(over) == 3
    assert not [(text, by) for text, by in over if by > 0]


SETTINGS = "clse:temp=0.2:cutoff=0.{}:layers=1/11/21:kv={}"
VARIANTS = [SETTINGS.format(3, "keep"), SETTINGS.format(3, "drop"), SETTINGS.format(5, "keep")]


@pytest.mark.parametrize("width", [1300, 390])
def test_variants_that_differ_late_are_told_apart_and_no_name_is_clipped(driver, tmp_path, width):
    loses = {name: 0.1 * at for at, name in enumerate(VARIANTS)} | {"random": 0.7}
    path = tmp_path / "report.html"
    path.write_text(render_page(*made_up(loses, tasks=[f"task-{at}" for at in range(8)], images=20)))
    opened(driver, path.as_uri(), width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    shown = "return [...document.querySelectorAll(arguments[0])].filter(n => n.getClientRects().length).map(n => [n.textContent, n.title, n.scrollWidth > n.clientWidth + 1 || n.scrollHeight > n.clientHeight + 3])"
    for place in (".res .nm2", ".heat .nm2", ".panels .nm2", ".tri thead span", ".tri .nm2", ".needs .nm2"):
        found = driver.execute_script(shown, place)
        assert found, place
        assert [text for text, _, clipped in found if clipped] == [], place
        names = {(title, text) for text, title, _ in found if title in VARIANTS}
        assert len({text for _, text in names}) == len({title for title, _ in names}), place
        assert names or place == ".needs .nm2", place
    labels = driver.execute_script(
        "return [...document.querySelectorAll('svg.plot')].filter(n => n.getClientRects().length).map(n => [...n.querySelectorAll('.nm')].map(t => t.textContent))"
    )[0]
    assert len({label.split(" ")[0] for label in labels}) == 4
    into = (
        "return [...document.querySelectorAll('.heat tbody tr')].filter(n => n.getClientRects().length && "
        "n.querySelector('.nm2').getBoundingClientRect().right > n.cells[1].getBoundingClientRect().left).length"
    )
    assert driver.execute_script(into) == 0
    cut = "const n = document.querySelector('h1'); return n.scrollHeight - n.clientHeight"
    assert driver.execute_script(cut) <= 2
    ends = "return [...document.querySelectorAll('.panels figure')].map(n => n.querySelector('small').getBoundingClientRect().right - n.getBoundingClientRect().right)"
    assert max(driver.execute_script(ends)) <= 0
