"""`linewatch calibrate flat-field`."""
