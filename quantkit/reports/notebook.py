"""The report inside a notebook."""

from __future__ import annotations

from html import escape

HEIGHT = "44rem"


class NotebookView:
    """A report that a notebook shows in place, in a frame of its own; printed elsewhere it is the summary's text."""

    def __init__(self, page: str, summary: str) -> None:
        self._page, self._summary = page, summary

    def _repr_html_(self) -> str:
        """What Jupyter, VS Code and Colab display. The frame may run the page's script, and nothing else."""
        style = f"width: 100%; height: {HEIGHT}; border: 0; color-scheme: light dark"
        return (
            f'<iframe title="quantkit report" sandbox="allow-scripts" style="{style}" '
            f'srcdoc="{escape(self._page, quote=True)}"></iframe>'
        )

    def __repr__(self) -> str:
        return self._summary
