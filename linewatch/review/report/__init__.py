"""The coil report: one self-contained page, its PDF, and tables for a spreadsheet."""
