"""The leaderboard in a real browser, opened from its folder. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.answered import answered
from tests.reports.test_html_browser import driver, pytestmark  # noqa: F401 (a fixture, and what skips)
from tests.tokenbench.commands.test_running import call


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    runs = [
        answered(place / "monday", {"fastv": 0.3, "random": 0.6}, tasks=("attribute",)),
        answered(place / "tuesday", {"clse": 0.2}, tasks=("attribute",)),
    ]
    assert call("publish", *map(str, runs), "-o", str(place / "site")) == 0
    return place / "site"


def opened(driver: Any, address: str, width: int = 1280) -> None:  # noqa: F811
    driver.get_log("browser")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    driver.get(address)


def shown(driver: Any, selector: str) -> list[Any]:  # noqa: F811
    return [node for node in driver.find_elements("css selector", selector) if node.is_displayed()]


def test_a_number_leads_to_its_samples_and_a_run_to_its_command(driver: Any, site: Path) -> None:  # noqa: F811
    opened(driver, (site / "index.html").as_uri())
    row = next(node for node in shown(driver, ".ranks tbody tr") if "clse" in node.text)
    row.find_element("css selector", ".num a").click()
    assert "boards/board-1/report.html#samples?a=clse&b=vanilla&budget=1%2F" in driver.current_url
    assert shown(driver, "#samples [data-part='list'] [role='option']")
    assert driver.find_element("css selector", "[data-part='a']").get_attribute("value") == "clse"
    driver.back()
    row = next(node for node in shown(driver, ".ranks tbody tr") if "clse" in node.text)
    row.find_element("css selector", ".again").click()
    assert driver.current_url.endswith("runs/tuesday/report.html#again")
    assert "tokenbench run --suite image --strategies clse" in shown(driver, "#command")[0].text
    assert driver.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_screen_and_says_nothing_to_the_console(driver: Any, site: Path, width: int) -> None:  # noqa: F811
    opened(driver, (site / "index.html").as_uri(), width)
    assert driver.execute_script("return document.documentElement.scrollWidth") == width
    assert driver.get_log("browser") == []


def test_the_cost_that_is_chosen_changes_plot_and_table(driver: Any, site: Path) -> None:  # noqa: F811
    opened(driver, (site / "index.html").as_uri())
    assert [table.get_attribute("data-cost") for table in shown(driver, ".plots [data-cost]")] == ["tokens", "tokens"]
    driver.find_element("css selector", "label[for='flops0']").click()
    assert [table.get_attribute("data-cost") for table in shown(driver, ".plots [data-cost]")] == ["flops", "flops"]


def test_a_header_sorts_the_rows_of_every_budget(driver: Any, site: Path) -> None:  # noqa: F811
    opened(driver, (site / "index.html").as_uri())
    driver.find_element("css selector", ".ranks th.num button").click()
    first = [row.text for row in shown(driver, ".ranks tbody tr")]
    driver.find_element("css selector", ".ranks th.num button").click()
    assert [row.text for row in shown(driver, ".ranks tbody tr")] != first
    assert first[0].startswith("Budget")
