"""A queue of trainings: many runs of the papers' protocols, one after the other, over kills and reboots."""
