"""From a fitted network to an engine folder: ONNX, INT8, manifest and card."""
