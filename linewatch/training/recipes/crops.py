from linewatch.training.recipes.single_label import SingleLabel as Crops, SingleLabelSettings as CropsSettings  # noqa
