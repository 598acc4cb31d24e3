"""A chart's SVG as a PNG, by resvg (extra ``png``)."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path

from quantkit.core.errors import BackendMissing


def png_of(document: str, dpi: int) -> bytes:
    """Rasterise an SVG document of quantkit's own.

    Args:
        document: The document.
        dpi: The pixels of an inch; the document's units are points.

    Returns:
        The PNG.

    Raises:
        BackendMissing: The extra ``png`` is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise BackendMissing(
            "A chart cannot be written as PNG here: resvg-py is missing.",
            "Give --chart a name that ends in .svg, or install it: pip install 'quantkit-int8[png]'.",
        ) from error
    from PIL import Image, ImageFont
    from PIL.PngImagePlugin import PngInfo

    with tempfile.TemporaryDirectory() as folder:
        fonts = []
        own = getattr(ImageFont.load_default(10), "font_bytes", None)  # of Pillow, for machines without any
        if own:
            font = Path(folder) / "font.ttf"
            font.write_bytes(own)
            fonts.append(str(font))
        drawn = resvg_py.svg_to_bytes(svg_string=document, dpi=float(dpi), font_files=fonts)
    marked = PngInfo()
    marked.add_text("Software", "quantkit chart")
    out = BytesIO()
    Image.open(BytesIO(bytes(drawn))).convert("RGB").save(out, "png", pnginfo=marked, optimize=True)
    return out.getvalue()
