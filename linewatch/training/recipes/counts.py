from linewatch.training.recipes.single_label import SingleLabel as Counts, SingleLabelSettings as CountsSettings  # noqa
