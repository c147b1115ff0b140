def learning_curves(*a): ...  # noqa
