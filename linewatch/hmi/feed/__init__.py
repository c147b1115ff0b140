"""What pages show of the running service: one view of it, sent on to every browser."""
