"""Everything that the configuration of a history, a Modbus bridge or an OPC UA bridge names, tried."""

import sqlite3
from contextlib import closing
from pathlib import Path

from linewatch.check.attempts import bind_address, write_into
from linewatch.check.trials import Trials
from linewatch.client.keys import ClientKeys, Credentials
from linewatch.config.history import HistorySettings
from linewatch.config.redact import without_password
from linewatch.config.text import why_not
from linewatch.contracts.errors import HistoryError
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.opcua.settings import OpcuaSettings
from linewatch.terminal import extra


def check_history(settings: HistorySettings, trials: Trials) -> None:
    """Try the database, the folder of images and the keys of a history."""
    trials.attempt(
        "",
        "database",
        without_password(settings.database),
        lambda: _database(settings.database),
        writes=_file_of(settings.database),
    )
    if (images := settings.images) is not None:
        trials.attempt(
            "images", "dir", images.dir, lambda: write_into(images.dir, images.min_free_mb), writes=images.dir
        )
    for number, service in enumerate(settings.service):
        if service.keys is not None:
            check_keys("service", service.keys.secret_file, service.keys.server_public_file, trials, number)


def check_modbus(settings: ModbusSettings, trials: Trials, owner: int | None) -> None:
    """Try the address and the keys of a Modbus bridge."""
    listen = settings.listen
    with_port = f"{listen.address}, port {listen.port}"
    trials.attempt("listen", "address", with_port, lambda: bind_address(listen.address, listen.port, owner))
    if (keys := settings.service.keys) is not None:
        check_keys("service", keys.secret_file, keys.server_public_file, trials)


def check_opcua(settings: OpcuaSettings, trials: Trials, owner: int | None) -> None:
    """Try the address, the folder of certificates and the keys of an OPC UA bridge."""
    listen, pki = settings.listen, settings.pki_dir
    with_port = f"{listen.address}, port {listen.port}"
    trials.attempt("listen", "address", with_port, lambda: bind_address(listen.address, listen.port, owner))
    trials.attempt("", "pki_dir", pki, lambda: write_into(pki), writes=pki)
    if (keys := settings.service.keys) is not None:
        check_keys("service", keys.secret_file, keys.server_public_file, trials)


def check_keys(section: str, secret: Path, public: Path, trials: Trials, number: int = 0) -> None:
    """Try a client's keys."""

    def opened() -> str:
        Credentials(ClientKeys(secret, public))
        return "both certificates are good"

    trials.attempt(section, "keys", secret, opened, number, reads=secret)


def _database(url: str) -> str:
    if not url.startswith("sqlite:///"):
        with extra("history"):
            from linewatch.history.database import reading
        with reading(url):
            return "is a history of this version"
    path = _file_of(url)
    assert path is not None
    folder = write_into(path.absolute().parent)
    if not path.exists():
        return f"{path.absolute()} is new; {folder}"
    try:
        with path.open("r+b"), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except (OSError, sqlite3.Error) as error:
        why = why_not(path, error) if isinstance(error, OSError) else str(error)
        raise HistoryError(
            f"{path.absolute()}: cannot be written as a history ({why}); let this user own it, or name another file"
        ) from error
    return f"{path.absolute()}; {tables} tables and indexes, {path.stat().st_size / 1e6:.1f} MB"


def _file_of(url: str) -> Path | None:
    return Path(url.removeprefix("sqlite:///").partition("?")[0]) if url.startswith("sqlite:///") else None
