"""Everything that reads or writes ONNX."""
