"""``quantkit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.options import Json, Quiet, Verbose


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the demo goes.")] = Path("digits-demo"),
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a small model with images to imitate (handwritten digits), and run everything on it."""
    from quantkit.cli.console import configure, log
    from quantkit.cli.run import run
    from quantkit.demo.write import CONFIG_FILE, write_demo

    configure(verbose, quiet)
    write_demo(folder)
    log.info("Wrote %s/: model.onnx, imgs/calib, imgs/eval, quantkit.toml", folder)
    log.info("Running: quantkit run -c %s -o %s", folder / CONFIG_FILE, folder / "run")
    run(folder / CONFIG_FILE, folder / "run", as_json=as_json, verbose=verbose, quiet=quiet)
