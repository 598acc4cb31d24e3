"""File formats for ranges that other tools read and write, one module per format."""
