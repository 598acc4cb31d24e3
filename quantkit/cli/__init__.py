"""The command line: one module per verb, which parses options, calls the pipeline and prints the result."""
