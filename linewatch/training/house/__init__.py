"""The trainings of the shipped engines: screen, classify, segment. `protocols` lists them."""
