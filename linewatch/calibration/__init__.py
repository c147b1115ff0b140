"""The calibration of cameras: `linewatch calibrate` takes pictures, measures, and keeps the result with its quality."""
