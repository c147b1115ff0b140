"""Reads coils from the history or from verdict files: report, comparison, grading again, pictures."""
