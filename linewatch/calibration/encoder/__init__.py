"""`linewatch calibrate encoder`."""
