"""What a process tells Prometheus of itself, over an HTTP endpoint that never holds it up."""
