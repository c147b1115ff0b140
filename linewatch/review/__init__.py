"""Reads coils from the history or from verdict files: reports, comparisons, new grades, pictures."""
