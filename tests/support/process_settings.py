"""Configurations of processes beside a service that is not there, each in a folder of its own."""

from pathlib import Path


def strip_settings(folder: Path) -> str:
    return (
        f'[[camera]]\nname = "cam1"\npublish = "ipc://{folder}/cam"\nserve = "ipc://{folder}/cam-rep"\n'
        f'[journal]\ndir = "{folder}/journal"\n'
        f'[wire]\npublish = "ipc://{folder}/pub"\nserve = "ipc://{folder}/rep"\ncommands = "ipc://{folder}/cmd"\n'
    )


def history_settings(folder: Path) -> str:
    service = f'[[service]]\nname = "cam1"\npublish = "ipc://{folder}/cam"\nserve = "ipc://{folder}/cam-rep"\n'
    return f'database = "sqlite:///{folder}/history.sqlite"\n{service}'


def s7_settings(folder: Path) -> str:
    service = f'[service]\npublish = "ipc://{folder}/cam"\nserve = "ipc://{folder}/cam-rep"\n'
    return f'{service}[plc]\naddress = "127.0.0.1"\nport = 1\n'
