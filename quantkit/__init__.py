"""quantkit: INT8 calibration and quantization of ONNX models, with a report."""
