"""Take a picture of a report, to look at it after a change.

    python scripts/screenshot_report.py REPORT.html OUT.png [--width 1280] [--height 1400] [--dark] [--open 2] [--full]

For developers only: needs ``pip install playwright`` and a Chromium (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    """Read the options, open the page, save the picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a report.")
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1400)
    parser.add_argument("--dark", action="store_true", help="in dark mode")
    parser.add_argument("--open", type=int, metavar="N", help="open the N-th tensor and scroll to it")
    parser.add_argument("--full", action="store_true", help="the whole page, not only its top")
    options = parser.parse_args()

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no Chromium; install one with: apt install chromium")
    address = options.report.resolve().as_uri() + (f"#t{options.open}" if options.open is not None else "")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": options.width, "height": options.height},
            color_scheme="dark" if options.dark else "light",
        )
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        page.screenshot(path=options.picture, full_page=options.full)
        browser.close()
    if problems:
        raise SystemExit("The page complained:\n" + "\n".join(problems))


if __name__ == "__main__":
    main()
