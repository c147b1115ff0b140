"""Everything that the configuration of a history, a bridge where clients connect, or the page names, tried."""

import sqlite3
from contextlib import closing
from pathlib import Path

from linewatch.check.attempts import bind_address, write_into
from linewatch.check.trials import Trials
from linewatch.client.keys import ClientKeys, Credentials
from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.config.redact import without_password
from linewatch.config.taxonomy import Taxonomy
from linewatch.config.text import why_not
from linewatch.contracts.errors import ConfigError, HistoryError
from linewatch.hmi.settings import HmiSettings
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.opcua.settings import OpcuaSettings
from linewatch.plant.settings import BridgeSettings
from linewatch.server_certificate import read_server_certificate
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


def check_bridge(settings: BridgeSettings, trials: Trials, owner: int | None) -> None:
    """Try the keys of a bridge, the address where others connect to it, and its folder of certificates."""
    if isinstance(settings, OpcuaSettings):
        pki = settings.pki_dir
        trials.attempt("", "pki_dir", pki, lambda: _pki(settings), writes=pki)
    if isinstance(settings, ModbusSettings | OpcuaSettings):
        listen = settings.listen
        with_port = f"{listen.address}, port {listen.port}"
        trials.attempt("listen", "address", with_port, lambda: bind_address(listen.address, listen.port, owner))
    if (keys := settings.service.keys) is not None:
        check_keys("service", keys.secret_file, keys.server_public_file, trials)


def _pki(settings: OpcuaSettings) -> str:
    """Say for how long the certificates are valid. Raises ConfigError where the server's own is not."""
    with extra("plant"):
        from linewatch.plant.opcua.certificates import TrustList, days_left, read_own, why_not_valid
    told = [write_into(settings.pki_dir)]
    own = read_own(settings.pki_dir)
    if own is None:
        return f"{told[0]}; the first start makes a certificate"
    if (why := why_not_valid(own)) is not None:
        raise ConfigError(f"{settings.pki_dir / 'own'}: clients refuse the server's certificate: {why}")
    told.append(f"the server's certificate is valid for {days_left(own)} more days")
    clients = TrustList(settings.pki_dir).trusted()
    told.append(f"{len(clients)} clients are trusted")
    if refused := [one for one in clients if why_not_valid(one.certificate) is not None]:
        names = ", ".join(one.sha256[:12] for one in refused[:5])
        told.append(f"{len(refused)} of them are refused, because their certificates are not valid now: {names}")
    elif clients:
        told.append(
            f"the first of their certificates ends in {min(days_left(one.certificate) for one in clients)} days"
        )
    return "; ".join(told)


def check_hmi(settings: HmiSettings, trials: Trials, owner: int | None) -> None:
    """Try the address, the people, the certificate, the history, the classes and the keys of the page."""
    listen = settings.listen
    with_port = f"{listen.address}, port {listen.port}"
    trials.attempt("listen", "address", with_port, lambda: bind_address(listen.address, listen.port, owner))
    people_file = settings.access.people_file
    trials.attempt("access", "people_file", people_file, lambda: _people(settings), reads=people_file)
    if (tls := settings.tls) is not None:
        trials.attempt(
            "tls",
            "certificate_file",
            tls.certificate_file,
            lambda: f"fits its key; {read_server_certificate(tls.certificate_file, tls.key_file)}",
            reads=tls.certificate_file,
        )
    if (taxonomy := settings.taxonomy) is not None:
        trials.attempt(
            "", "taxonomy", taxonomy, lambda: f"{len(Taxonomy.read(taxonomy).classes)} classes", reads=taxonomy
        )
    if (history := settings.history) is not None:
        trials.attempt(
            "", "history", history, lambda: _database(load(history, HistorySettings).database), reads=history
        )
    if (keys := settings.service.keys) is not None:
        check_keys("service", keys.secret_file, keys.server_public_file, trials)
    for number, camera in enumerate(settings.camera):
        if camera.keys is not None:
            check_keys("camera", camera.keys.secret_file, camera.keys.server_public_file, trials, number)


def _people(settings: HmiSettings) -> str:
    with extra("hmi"):
        from linewatch.hmi.access.people import People
    people = People(settings.access.people_file)
    if not len(people) and not settings.listen.is_loopback:
        raise ConfigError(
            "nobody has a password, and other hosts reach the page; set a first one: linewatch hmi-password NAME CONFIG"
        )
    return f"{len(people)} people may log in" if len(people) else "nobody has a password: this host alone may look"


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
