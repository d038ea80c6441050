"""Take the pictures of the README and of docs/gallery.md from the report of a run, in headless chromium.

``tokenbench run --suite image --strategies clse,fastv -o my-run`` is the README's run. Then, in the repository::

    python docs/pictures.py my-run/report/report.html

Chromium with its driver and selenium (extra ``test``) are needed; nothing is fetched.
"""

import io
import shutil
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

from PIL import Image

PICTURES = Path(__file__).parent / "_static" / "pictures"
SCREENS = {"first-screen": (1280, 900), "first-screen-phone": (390, 844)}
"""By the name of a picture, the size of the screen that it shows from the top."""
PARTS = {"tasks": "#tasks", "differences": "#gaps", "kept-tokens": ".live .panes"}
"""By the name of a picture, the part of the page that it shows."""
BROWSED = {"every-question": (1280, 800)}
"""By the name of a picture, the size of the screen that shows the questions, one of them open."""
COLOURFUL = {"kept-tokens", "every-question"}
"""The pictures that need more than 256 colours."""
OPEN = """
document.querySelectorAll('[role=option]')[1]?.click();
const wait = (done) => (document.querySelector('[data-part=body] .panes') ? done() : setTimeout(wait, 50, done));
wait(arguments[0]);
"""
"""Opens a question, and waits until it is drawn."""
TALLEST = 620
MARGIN = 12


def take_pictures(report: Path, folder: Path) -> list[Path]:
    """Write one PNG for every screen and every part of a report that is there.

    Args:
        report: The ``report.html``.
        folder: Where the pictures are written. It exists.

    Returns:
        The files that were written.
    """
    with tempfile.TemporaryDirectory() as profile:
        browser = _open_browser(profile)
        try:
            written = []
            for name, (width, height) in SCREENS.items():
                _show(browser, report, width, height)
                written.append(_save(browser, folder / f"{name}.png", (0, 0, width, height)))
            _show(browser, report, 1280, 900)
            for name, selector in PARTS.items():
                if (box := _place(browser, selector)) is not None:
                    written.append(_save(browser, folder / f"{name}.png", box))
            for name, (width, height) in BROWSED.items():
                _show(browser, report, width, height, "#samples?show=only-a")
                browser.execute_async_script(OPEN)
                written.append(_save(browser, folder / f"{name}.png", (0, 0, width, height)))
            return written
        finally:
            browser.quit()


def _open_browser(profile: str) -> Any:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    flags = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars")
    for flag in (*flags, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    return Chrome(options=options, service=Service(shutil.which("chromedriver")))


def _show(browser: Any, report: Path, width: int, height: int, fragment: str = "") -> None:
    """Open the page in a window of this size, in light colours."""
    light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", light)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")  # another fragment alone would not load the page again
    browser.get(report.resolve().as_uri() + fragment)


def _place(browser: Any, selector: str) -> tuple[float, float, float, float] | None:
    """(x, y, width, height) of a part of the page with a margin, its lower end cut off if it is tall; None if it is not there."""
    found = browser.execute_script(
        "const box = document.querySelector(arguments[0])?.getBoundingClientRect();"
        "return box && [box.x + scrollX, box.y + scrollY, box.width, box.height]",
        selector,
    )
    if not found:
        return None
    x, y, width, height = found
    return max(0, x - MARGIN), y, width + 2 * MARGIN, min(TALLEST, height + MARGIN)


def _save(browser: Any, path: Path, box: tuple[float, float, float, float]) -> Path:
    """Write this part of the page; in 256 colours, which take a third of the room, unless it shows photographs large."""
    clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    shot = b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", options)["data"])
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    packed = image if path.stem in COLOURFUL else image.quantize(256, dither=Image.Dither.NONE)
    packed.save(path, optimize=True)
    return path


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for written in take_pictures(Path(sys.argv[1]), PICTURES):
        sys.stdout.write(f"{written}: {written.stat().st_size / 1000:.0f} kB\n")
