"""Training samples: cut out of real pictures, composed, augmented."""
