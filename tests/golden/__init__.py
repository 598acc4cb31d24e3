"""What TensorRT's own calibrators found on the project's models; scripts/make_golden.py makes the files."""
