"""placeholder until the datasets branch is merged"""


def faults(data_set):  # noqa
    return []
