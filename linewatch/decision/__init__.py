"""Decide what predictions mean: defects, roll marks, coverage, grades, alarms. Pure functions; start at `decide`."""
