"""`linewatch check`: tries everything that a configuration names, as the process that reads it will."""
