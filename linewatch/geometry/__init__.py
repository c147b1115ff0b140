"""Pure geometry: tiles, run-length masks, and millimetres on the strip."""
