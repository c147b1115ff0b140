"""What was tried once and may be repeated. Nothing here is installed or runs on a line."""
