"""Trial of a whole-frame network with a calibrated second stage; docs/experiments/eye.md lists commands and figures."""
