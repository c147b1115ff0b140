"""Training of networks, from samples to a fitted network with its record.

Start with `fit`, the one training loop. `papers` holds the papers' training protocols (one file a kind of labels,
`papers.study` says what a protocol must provide) and `protocols` lists them; `runs` fits one into a run folder.
`house` trains the shipped engines. `samples` makes training samples.
"""

import linewatch.networks  # noqa: F401 - before Lightning: it makes torchvision importable
