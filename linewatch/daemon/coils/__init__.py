"""What the service is told about coils: by commands, by Level 2's files, or by an earlier run."""
