"""`linewatch calibrate overlap`."""
