from linewatch.training.recipes.single_label import SingleLabel as Joint, SingleLabelSettings as JointSettings  # noqa
