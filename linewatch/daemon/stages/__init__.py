"""The work of the stages, one file a stage; the topology joins them."""
