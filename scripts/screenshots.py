"""Take pictures of reports, to look at after a change and for the docs.

    python scripts/screenshots.py REPORT.html OUT.png [--width 1280] [--height 1400] [--dark] [--open 2] [--full]
    python scripts/screenshots.py --docs       all of docs/images anew, from the demo and scripts/sample_report.py

For developers only: ``pip install -e '.[dev,openvino]'`` and a Chromium (Debian: ``apt install chromium``).
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
PHONE = 390
LARGEST = 400_000  # bytes of one picture
NETWORK = -1
# name, run, width, height, dark, tensor to open, or NETWORK for a layer of it
DOCS = (
    ("report", "digits", 1280, 1180, False, None),
    ("report-dark", "digits", 1280, 1180, True, None),
    ("report-phone", "digits", PHONE, 1500, False, None),
    ("report-tensor", "digits", 1280, 760, False, 3),
    ("report-graph", "digits", 1280, 760, False, NETWORK),
    ("report-155-layers", "deep", 1280, 1180, False, None),
    ("report-155-layers-dark", "deep", 1280, 1180, True, None),
)


def main() -> None:
    """Read the options, take the pictures."""
    parser = argparse.ArgumentParser(description="Take pictures of reports.")
    parser.add_argument("report", type=Path, nargs="?")
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--docs", action="store_true", help="make the runs, and all pictures of the docs")
    parser.add_argument("--runs", type=Path, help="with --docs: where the runs are kept, and used again")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1400)
    parser.add_argument("--dark", action="store_true", help="in dark mode")
    parser.add_argument("--open", type=int, metavar="N", help="open the N-th tensor and scroll to it")
    parser.add_argument("--full", action="store_true", help="the whole page, not only its top")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no Chromium; install one with: apt install chromium")
    if not options.docs and options.picture is None:
        parser.error("give REPORT.html and OUT.png, or --docs")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as temporary:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        if options.docs:
            runs = options.runs or Path(temporary)
            reports = {"digits": digits(runs / "digits"), "deep": deep(runs / "deep")}
            for name, run, width, height, dark, tensor in DOCS:
                data = shoot(browser, reports[run], width, height, dark, tensor)
                save_small(data, IMAGES / f"{name}.png")
        else:
            data = shoot(
                browser, options.report, options.width, options.height, options.dark, options.open, options.full
            )
            options.picture.write_bytes(data)
        browser.close()


def digits(folder: Path) -> Path:
    """The report of ``quantkit demo``."""
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "quantkit", "demo", folder], check=True)
    return written(folder / "run")


def deep(folder: Path) -> Path:
    """The report of a model of 155 layers."""
    if not folder.exists():
        subprocess.run([sys.executable, ROOT / "scripts" / "sample_report.py", folder], check=True)
    return written(folder / "run")


def written(run: Path) -> Path:
    """The run's report, as it is written now."""
    subprocess.run([sys.executable, "-m", "quantkit", "report", run, "-q"], check=True)
    return run / "report.html"


def shoot(
    browser: Any, report: Path, width: int, height: int, dark: bool, tensor: int | None = None, full: bool = False
) -> bytes:
    """A PNG of the page's top, of one opened tensor, or of all; an error if the page complains of anything."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        device_scale_factor=2 if width <= PHONE else 1,
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    place = "" if tensor is None else "#network" if tensor == NETWORK else f"#t{tensor}"
    page.goto(report.resolve().as_uri() + place)
    if tensor == NETWORK:
        page.locator("#network-view .layer").nth(3).click()
    data: bytes = page.screenshot(full_page=full)
    context.close()
    if problems:
        raise SystemExit("The page complained:\n" + "\n".join(problems))
    return data


def save_small(data: bytes, path: Path) -> None:
    """Write a PNG of 256 colours, which such a page needs no more of; an error where it is large all the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")
    print(path)


if __name__ == "__main__":
    main()
