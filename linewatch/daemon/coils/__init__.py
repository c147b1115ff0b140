"""What is known of coils: from commands, from Level 2's files, or from an earlier run."""
