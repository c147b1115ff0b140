"""The soak: a whole line of real processes under a seeded schedule of faults, with checks at all times."""
