"""The networks: the house's and the papers', one file each; `registry` lists them."""

from linewatch.networks.torchvision_operators import declare

declare()
