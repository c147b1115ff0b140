"""The calibration of cameras: `linewatch calibrate` takes pictures, says how good what it found is, and keeps it."""
