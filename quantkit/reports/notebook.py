"""The report in a notebook."""

from __future__ import annotations

from html import escape

HEIGHT = "44rem"


class NotebookView:
    """A report that notebooks display in a frame; elsewhere it prints as the text of the summary."""

    def __init__(self, page: str, summary: str) -> None:
        self._page, self._summary = page, summary

    def _repr_html_(self) -> str:
        """Return the HTML that Jupyter, VS Code and Colab display. The frame may run scripts and nothing else."""
        style = f"width: 100%; height: {HEIGHT}; border: 0; color-scheme: light dark"
        return (
            f'<iframe title="quantkit report" sandbox="allow-scripts" style="{style}" '
            f'srcdoc="{escape(self._page, quote=True)}"></iframe>'
        )

    def __repr__(self) -> str:
        return self._summary
