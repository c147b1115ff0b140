"""The health of the picture: light, focus, dirt and unrest, measured on some of the frames."""
