"""What tests of the page in a real browser share: Debian's chromium and chromium-driver, headless."""

import shutil

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromium-driver on this machine"),
]


def start(profile):
    """A browser that logs what a page says and asks for."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars")
    for flag in (*flags, f"user-data-dir={profile}", "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(DRIVER))
    browser.get("about:blank")
    return browser


def opened(driver, address, scheme="light", width=1280, height=900):
    """Open a page in a window of this size."""
    driver.get_log("browser"), driver.get_log("performance")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(address)
    return driver


def texts(driver, selector):
    """The texts of all visible elements."""
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(n => n.offsetParent).map(n => n.textContent.trim())",
        selector,
    )
