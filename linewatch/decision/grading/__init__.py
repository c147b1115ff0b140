"""How bad each defect is, and the grade that follows for the coil."""
