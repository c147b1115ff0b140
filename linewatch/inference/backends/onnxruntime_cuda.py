"""ONNX Runtime's CUDA provider, for a GPU host without a TensorRT library."""

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.backends.onnxruntime import OnnxRuntimeBackend
from linewatch.inference.backends.tensorrt.gpu import find_gpu

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeCudaBackend(OnnxRuntimeBackend):
    """Backend `onnxruntime-cuda`. Its constructor raises EngineError that names what is missing."""

    name = "onnxruntime-cuda"

    def __init__(self) -> None:
        super().__init__()
        self.siblings = ()
        found = self._ort.get_available_providers()
        if PROVIDER not in found:
            raise EngineError(
                f"backend {self.name}: this onnxruntime has {', '.join(found)}, expected {PROVIDER}; install "
                'onnxruntime-gpu in place of onnxruntime, or set inference.backend = "onnxruntime"'
            )
        self._gpu = find_gpu()
        # Convolution algorithms are chosen by rule and not by timing, so that equal identities give equal bytes.
        self._providers = [(PROVIDER, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})]

    def identity(self, manifest: EngineManifest) -> str:
        weights = f"{manifest.name}@{manifest.model.sha256[:12]}"
        return f"{weights}/{self.name}-{self._ort.__version__}/{manifest.precision}/{self._gpu.slug}"
