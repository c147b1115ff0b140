"""`linewatch calibrate geometry` and `linewatch calibrate target`."""
