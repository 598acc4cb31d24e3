"""Value types: frozen, no I/O but their own save and load. Imports nothing of quantkit but itself."""
