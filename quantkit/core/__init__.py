"""Value types: frozen, with no I/O but their own save and load. Imports nothing else of quantkit."""
