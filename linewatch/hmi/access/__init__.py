"""Who may look at the page, and who may act on it."""
