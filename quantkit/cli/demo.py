"""``quantkit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.options import Json, Quiet, Verbose, Wide


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the demo goes.")] = Path("digits-demo"),
    write_only: Annotated[bool, typer.Option("--write-only", help="Write the folder, and run nothing.")] = False,
    as_json: Json = False,
    wide: Wide = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a small model with images to imitate (handwritten digits), and run everything on it.

    The folder gets model.onnx, imgs/calib, imgs/eval and quantkit.toml. Then quantkit run calibrates, exports,
    compares, reports and judges it, in about a minute; --write-only leaves that to you.
    """
    from quantkit.cli.console import configure, log, print_json
    from quantkit.cli.documents import WrittenDemoDocument
    from quantkit.cli.run import run
    from quantkit.demo.write import CONFIG_FILE, write_demo

    configure(verbose, quiet)
    write_demo(folder)
    log.info("Wrote %s/: model.onnx, imgs/calib, imgs/eval, quantkit.toml", folder)
    if write_only:
        if as_json:
            print_json(WrittenDemoDocument(folder=str(folder)))
        return
    log.info("Running: quantkit run -c %s -o %s", folder / CONFIG_FILE, folder / "run")
    run(config=folder / CONFIG_FILE, output=folder / "run", as_json=as_json, verbose=verbose, quiet=quiet)
