"""Writes the demo folder, which users can start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from quantkit.core.errors import BadConfig
from quantkit.core.files import atomic_file, make_folder, write_text
from quantkit.demo.digits import load_split, upscale

CONFIG_FILE = "quantkit.toml"


def write_demo(folder: Path) -> None:
    """Write model.onnx, imgs/calib and imgs/eval (PNGs in class folders), quantkit.toml and LICENSE-digits.md.

    A folder that already holds the demo is completed.

    Raises:
        BadInput: The folder holds anything else.
    """
    package = resources.files("quantkit.demo")
    config = package.joinpath("demo.toml").read_text(encoding="utf-8")
    own = folder / CONFIG_FILE
    if folder.is_dir() and any(folder.iterdir()) and not (own.is_file() and own.read_bytes() == config.encode()):
        raise BadConfig(f"The folder {folder} is not empty, and holds no demo.", "Name a new folder: quantkit demo DIR")
    make_folder(folder)
    write_text(own, config)
    write_text(folder / "LICENSE-digits.md", package.joinpath("LICENSE-digits.md").read_text(encoding="utf-8"))
    with atomic_file(folder / "model.onnx") as temporary:
        temporary.write_bytes(package.joinpath("digits.onnx").read_bytes())
    for split in ("calib", "eval"):
        images, labels = load_split(split)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / "imgs" / split / str(label) / f"{number:04d}.png"
            if not path.is_file():
                with atomic_file(path) as temporary:
                    upscale(image).save(temporary, format="PNG")
