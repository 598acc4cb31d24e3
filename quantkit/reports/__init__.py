"""What people read about a run: an HTML page, a Markdown summary, a JUnit file."""
