"""What axe-core finds in the report, in both colour schemes and on a phone; and colours under colour blindness."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.reports.charts.svg import LIGHT
from tests.browser.conftest import PHONE, Visit, violations

TELLS_APART = 10  # ΔE*ab; 2 can just be seen


@pytest.mark.parametrize("settings", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
@pytest.mark.parametrize("name", ["real", "rich", "hostile"])
def test_axe_finds_nothing_grave(
    name: str, settings: dict[str, Any], visit: Visit, request: pytest.FixtureRequest
) -> None:
    page = visit(request.getfixturevalue(name), "#t0", **settings)
    page.evaluate("document.querySelectorAll('details:not(.tensor), #t1').forEach(part => { part.open = true; })")
    page.locator(".point:visible").first.focus()
    assert page.locator("#readout").is_visible()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_schemes_differ(scheme: str, rich: Path, visit: Visit) -> None:
    page = visit(rich, color_scheme=scheme)
    red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (red > 200) == (scheme == "light")


@pytest.mark.parametrize("deficiency", ["deuteranopia", "protanopia", "tritanopia", "achromatopsia"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_of_four_targets_can_be_told_apart(deficiency: str, scheme: str, rich: Path, visit: Visit) -> None:
    """As Chromium simulates it; where hue is gone altogether the shapes still differ."""
    page = visit(rich, color_scheme=scheme)
    page.context.new_cdp_session(page).send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
    shapes = page.evaluate("[...document.querySelectorAll('#measurements .glyph path')].map(p => p.getAttribute('d'))")
    assert len(set(shapes)) == 3
    if deficiency == "achromatopsia":
        return
    seen = [shown(page, f"var(--c{index})") for index in range(4)]
    for one, other in combinations(seen, 2):
        assert float(np.linalg.norm(lab(one) - lab(other))) > TELLS_APART, (one, other)


def lab(colour: tuple[int, ...]) -> Any:
    """CIE L*a*b* (D65) of an sRGB colour: equal distances in it look about equal."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def shown(page: Any, colour: str) -> tuple[int, ...]:
    """The red, green and blue that a colour is shown as."""
    import io

    from PIL import Image

    page.evaluate(f"document.querySelector('.badge').style.cssText = 'border-radius: 0; background: {colour}'")
    page.evaluate("document.querySelector('.badge').replaceChildren()")
    image = Image.open(io.BytesIO(page.locator(".badge").screenshot())).convert("RGB")
    return tuple(image.getpixel((image.width // 2, image.height // 2)))  # type: ignore[arg-type]


def test_a_chart_file_has_the_pages_light_colours(rich: Path, visit: Visit) -> None:
    page = visit(rich, color_scheme="light")
    read = "names => names.map(n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())"
    names = ["--ink", "--grid", "--muted", *(f"--c{index}" for index in range(6))]
    assert page.evaluate(read, names) == [LIGHT.ink, LIGHT.grid, LIGHT.front, *LIGHT.series]
