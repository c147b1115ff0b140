"""Backend `tensorrt`: ONNX -> strongly typed network -> plan, cached -> one executor per worker."""
