"""`linewatch calibrate edges`."""
