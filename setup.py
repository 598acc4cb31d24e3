"""The compiled kernel, and the README as it reads outside the repository; all else stands in pyproject.toml."""

import re
import sys
from pathlib import Path

from setuptools import Extension, setup

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent
PICTURES = (".png", ".svg")


def readme() -> str:
    """Return the README with links to the files of this release in the repository, instead of relative ones."""
    home = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
    release = "v" + re.findall(r'"(.+)"', (ROOT / "quantkit" / "version.py").read_text(encoding="utf-8"))[-1]

    def absolute(found: "re.Match[str]") -> str:
        before, path = found.groups()
        kind = "raw" if path.endswith(PICTURES) else "blob"
        return f"{before}{home}/{kind}/{release}/{path}"

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"""(\]\(|(?:src|srcset|href)=")(?!https?:|#)([^)"\s]+)""", absolute, text)


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=[
        Extension(
            "quantkit.calibrators._count",
            ["quantkit/calibrators/_count.c"],
            # No contraction into fused multiply-adds, so that every build rounds alike.
            extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
            py_limited_api=True,
            optional=True,  # without a compiler NumPy counts the same
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
