"""Data, trainings, judging, export. `commands` is the way in."""

from linewatch.networks.torchvision_operators import declare

declare()
