"""What the site has beyond the pages in docs/: pages made here, and links that lead out of docs/.

The pages in docs/ are read in the repository, too. Their links to files elsewhere (``../scripts/zoo.py``) lead to the
repository on the site, and links to a notebook to the page that is made of it.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from commands import commands_page
from notebook import notebook_page

log = logging.getLogger("mkdocs.hooks")  # a warning of it fails a strict build
ROOT = Path(__file__).resolve().parents[2]
FROM_THE_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(\]\()([^()\s:#]+)((?:#[^()\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the repository's address from where it is said, pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    config.repo_url = project["urls"]["Homepage"]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and leave out the notebooks that they are made of."""
    pages = {"reference/commands.md": commands_page()}
    for name, page in FROM_THE_ROOT.items():
        pages[page] = LINK.sub(_seen_from_docs, (ROOT / name).read_text(encoding="utf-8"))
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        pages[file.src_uri.removesuffix(".ipynb") + ".md"] = notebook_page(Path(config.docs_dir, file.src_uri))
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Turn links that lead out of docs/ into links to the repository, and those to notebooks into links to pages."""
    here = (ROOT / "docs" / page.file.src_uri).parent

    def target(found: re.Match[str]) -> str:
        before, link, after = found.groups()
        if link.endswith(".ipynb"):
            return f"{before}{link.removesuffix('.ipynb')}.md{after}"
        place = Path(*(here / link).parts).resolve()
        if place.is_relative_to(ROOT / "docs"):
            return found[0]
        if not place.exists():
            log.warning("%s links to %s, which does not exist.", page.file.src_uri, link)
            return found[0]
        name = place.relative_to(ROOT).as_posix()
        if name in FROM_THE_ROOT:
            return f"{before}{'../' * page.file.src_uri.count('/')}{FROM_THE_ROOT[name]}{after}"
        return f"{before}{config.repo_url}/{'tree' if place.is_dir() else 'blob'}/main/{name}{after}"

    return LINK.sub(target, markdown)


def _seen_from_docs(found: re.Match[str]) -> str:
    """Return a link of a page in the root as a page in docs/ writes it."""
    before, link, after = found.groups()
    return f"{before}{link.removeprefix('docs/') if link.startswith('docs/') else '../' + link}{after}"
