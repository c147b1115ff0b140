"""Training samples: `tiles` for classify and segment, `frames` and `blending` for the screen, `augmentation`."""
