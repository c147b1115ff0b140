"""Text that the manifest and card of every shipped engine repeats."""

TERMS = (
    "Weights: Apache-2.0, as the ImageNet weights that they start from (google-coral/test_data). Trained on: "
    'NEU surface defect database ("the open surface defect database"; cite Song & Yan 2013, and Song, Song & Yan 2020 '
    "for masks); X-SDD (Apache-2.0; cite Feng, Gao, Luo 2021); Severstal frames "
    '("The dataset is owned by PAO Severstal. If you need to use the dataset in your research you are entitled to do '
    'it without any restrictions except those established by the applicable law.").'
)
SPLIT = (
    "configs/splits/*.csv: five folds, grouped by near-duplicates and coil neighbours; fold 4 held out from everything"
)
NORMALISATION = "gray / 127.5 - 1 and the halving into 2 x 2 planes happen inside the graph"
UNKNOWN_SCALE_MM_PER_PX = 1.0
"""None of the sets gives its scale; training covers 0.7 to 1.35 times the pixels of the frames."""
