"""The reports on a run: an HTML page, a Markdown summary, a JUnit file."""
