"""The networks, the house's and the papers', one file each, with their registry.

Start with `registry.NETWORKS`; `spec.NetworkSpec` says what a network's file declares. `paper` is the base of the
papers' networks, `pretrained` loads weights, `shipped` turns a network into an engine's form, `count` counts parameters
and operations. Importing this package makes torchvision importable beside a CPU-only torch.
"""

from linewatch.networks.torchvision_operators import declare

declare()
