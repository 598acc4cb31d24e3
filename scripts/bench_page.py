"""How fast a report opens and scrolls in Chromium: load, frame times, long tasks; as JSON.

    python scripts/bench_page.py REPORT.html [--open 20]

It scrolls from top to bottom by half a window a frame, with all tensors closed, then with some opened.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

SCROLL = """async (step) => {
  const tasks = [];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)));
  observer.observe({ type: "longtask" });
  scrollTo(0, 0);
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  const frames = [];
  let last = await frame();
  while (scrollY + innerHeight < document.documentElement.scrollHeight - 1) {
    scrollBy({ top: step, behavior: "instant" });
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  await new Promise((done) => setTimeout(done, 100));
  observer.disconnect();
  return { frames, tasks };
}"""


def main() -> None:
    """Open, measure, print."""
    parser = argparse.ArgumentParser(description="Measure how a report opens and scrolls.")
    parser.add_argument("report", type=Path)
    parser.add_argument("--open", type=int, default=20, help="how many tensors are opened the second time")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(options.report.resolve().as_uri())
        timing = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
        closed = summary(page.evaluate(SCROLL, 450))
        page.evaluate(
            "n => [...document.querySelectorAll('.tensor')].forEach((t, i) => { t.open = i < n; })", options.open
        )
        page.wait_for_timeout(1000)
        opened = summary(page.evaluate(SCROLL, 450))
        figures = {
            "bytes": options.report.stat().st_size,
            "tensors": page.locator(".tensor").count(),
            "dom_content_loaded_ms": round(timing["domContentLoadedEventEnd"]),
            "load_ms": round(timing["loadEventEnd"]),
            "closed": closed,
            f"opened_{options.open}": opened,
        }
        browser.close()
    print(json.dumps(figures, indent=1))


def summary(measured: dict[str, Any]) -> dict[str, float]:
    """Median, 95th percentile and worst frame in ms, and the long tasks (over 50 ms)."""
    frames = sorted(measured["frames"])
    return {
        "frames": len(frames),
        "median_ms": round(statistics.median(frames), 1),
        "p95_ms": round(frames[int(0.95 * (len(frames) - 1))], 1),
        "worst_ms": round(frames[-1], 1),
        "long_tasks": len(measured["tasks"]),
        "longest_task_ms": round(max(measured["tasks"], default=0), 1),
    }


if __name__ == "__main__":
    main()
