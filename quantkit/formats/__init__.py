"""Files of ranges that other tools read and write, one format a file."""
