"""linewatch: real-time surface inspection of steel strip."""

import os

__version__ = "0.1.0"

# ONNX Runtime reads this when it is imported; otherwise it sends usage data and leaves a device id in the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
