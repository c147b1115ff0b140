"""What `tensorrt_backend` is made of: ONNX -> strongly typed network -> plan, cached -> one executor per worker."""
