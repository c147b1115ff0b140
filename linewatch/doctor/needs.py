"""What a configuration needs of the host."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from linewatch.capture.cameras.genicam import GenicamSource
from linewatch.check.units import Unit
from linewatch.config.history import HistorySettings
from linewatch.config.monitoring import MonitoringSettings
from linewatch.config.wire import ClientKeySettings, WireSettings
from linewatch.contracts.errors import ConfigError
from linewatch.hmi.settings import HmiSettings
from linewatch.plant.modbus.settings import ModbusSettings
from linewatch.plant.mqtt.settings import MqttSettings
from linewatch.plant.opcua.settings import OpcuaSettings
from linewatch.plant.settings import BridgeSettings
from linewatch.service_settings import ServiceSettings
from linewatch.strip.settings import StripSettings


@dataclass(frozen=True, slots=True)
class NeededFolder:
    """A folder that is written to. room_mb: what must fit with what it holds. synced: its writer waits for the disk."""

    setting: str
    path: Path
    room_mb: float = 0.0
    synced: bool = False


@dataclass(frozen=True, slots=True)
class NeededCertificate:
    """A certificate by which a process is known to whoever connects to it."""

    setting: str
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class HostNeeds:
    """What linewatch needs of the host. Without a configuration: nothing but the host itself.

    config: the file. unit: runs it, where one is installed. process: runs it now. ports: by setting.
    """

    config: Path | None = None
    unit: Unit | None = None
    process: int | None = None
    workers: int = 0
    precision: str = ""
    backend: str = ""
    ring_mb: float = 0.0
    genicam: GenicamSource | None = None
    folders: tuple[NeededFolder, ...] = ()
    sync_within_ms: float = 50.0
    ports: tuple[tuple[str, int], ...] = ()
    secret_keys: tuple[Path, ...] = ()
    certificates: tuple[NeededCertificate, ...] = ()
    tokens: tuple[Path, ...] = ()
    allow_lists: tuple[Path, ...] = ()
    calibrations: Path | None = None
    serial: str = ""
    width_px: int = 0
    holds_password: bool = False

    @property
    def user(self) -> str | None:
        """The user as whom the unit runs it."""
        return self.unit.user if self.unit is not None else None

    @property
    def service(self) -> str:
        """The unit's name for commands."""
        return shlex.quote(self.unit.name.removesuffix(".service")) if self.unit is not None else "linewatch"


def needs_of(settings: BaseModel, config: Path, unit: Unit | None, process: int | None) -> HostNeeds:
    """Return what the process of a configuration needs. Raises ConfigError for a file that no process runs by."""
    needs = _without_monitoring(settings, config, unit, process)
    monitoring: MonitoringSettings | None = getattr(settings, "monitoring", None)
    if monitoring is None:
        return needs
    tls = monitoring.certificate_file, monitoring.key_file
    return replace(
        needs,
        ports=(*needs.ports, *((("[monitoring] port", monitoring.port),) if monitoring.port else ())),
        certificates=(*needs.certificates, *_certificate("[monitoring] certificate_file", *tls)),
        tokens=(monitoring.token_file,) if monitoring.token_file is not None else (),
    )


def _certificate(setting: str, certificate: Path | None, key: Path | None) -> tuple[NeededCertificate, ...]:
    return (NeededCertificate(setting, certificate, key),) if certificate is not None and key is not None else ()


def _without_monitoring(settings: BaseModel, config: Path, unit: Unit | None, process: int | None) -> HostNeeds:
    if isinstance(settings, ServiceSettings):
        return _of_service(settings, config, unit, process)
    if isinstance(settings, StripSettings):
        keys = [camera.keys for camera in settings.camera]
        return HostNeeds(
            config,
            unit,
            process,
            folders=(NeededFolder("[journal] dir", settings.journal.dir, settings.journal.max_mb, synced=True),),
            sync_within_ms=settings.journal.group_commit_ms,
            ports=_ports(settings.wire),
            secret_keys=(*_own_keys(settings.wire), *_secrets(keys)),
            allow_lists=_allow_lists(settings.wire),
        )
    if isinstance(settings, HistorySettings):
        return _of_history(settings, config, unit, process)
    if isinstance(settings, HmiSettings):
        tls, keys = settings.tls, [settings.service.keys, *(camera.keys for camera in settings.camera)]
        return HostNeeds(
            config,
            unit,
            process,
            ports=(("[listen] port", settings.listen.port),) if settings.listen.port else (),
            secret_keys=_secrets(keys),
            certificates=_certificate("[tls] certificate_file", tls.certificate_file, tls.key_file) if tls else (),
        )
    if isinstance(settings, MqttSettings):
        store, keys = settings.store, [settings.service.keys]
        folders = (NeededFolder("[store] file", store.file.parent, store.max_mb),)
        return HostNeeds(config, unit, process, folders=folders, secret_keys=_secrets(keys))
    if isinstance(settings, BridgeSettings):
        port = settings.listen.port if isinstance(settings, ModbusSettings | OpcuaSettings) else 0
        ports = (("[listen] port", port),) if port else ()
        keys = [settings.service.keys]
        return HostNeeds(config, unit, process, ports=ports, secret_keys=_secrets(keys))
    raise ConfigError(
        f"{config}: no process runs by it, expected the configuration of a service, a strip, a history, a "
        "page or a bridge; `linewatch check` looks at rules and taxonomies"
    )


def _of_service(settings: ServiceSettings, config: Path, unit: Unit | None, process: int | None) -> HostNeeds:
    line, inference, source = settings.line, settings.inference, settings.source
    genicam = source if isinstance(source, GenicamSource) else None
    folders = [NeededFolder("[journal] dir", settings.journal.dir, settings.journal.max_mb, synced=True)]
    if inference.backend == "tensorrt":
        folders.append(NeededFolder("[inference] plan_dir", inference.plan_dir))
    serial = settings.calibration.serial or (genicam.camera if genicam and genicam.camera else "")
    is_calibrated = settings.calibration.required or bool(serial) or (source is not None and source.is_device)
    ring_mb = settings.capture.ring_slots * line.frame_lines * line.width_px / 1e6
    if genicam is not None:
        ring_mb += (
            genicam.buffers * line.frame_lines * line.width_px * (1 if genicam.pixel_format == "Mono8" else 2) / 1e6
        )
    return HostNeeds(
        config,
        unit,
        process,
        workers=inference.workers,
        precision=inference.precision,
        backend=inference.backend,
        ring_mb=ring_mb,
        genicam=genicam,
        folders=tuple(folders),
        sync_within_ms=settings.journal.group_commit_ms,
        ports=_ports(settings.wire),
        secret_keys=_own_keys(settings.wire),
        allow_lists=_allow_lists(settings.wire),
        calibrations=settings.calibration.folder if is_calibrated else None,
        serial=serial,
        width_px=line.width_px,
    )


def _of_history(settings: HistorySettings, config: Path, unit: Unit | None, process: int | None) -> HostNeeds:
    folders = []
    if settings.database.startswith("sqlite:///"):
        file = Path(settings.database.removeprefix("sqlite:///").partition("?")[0])
        room_mb = settings.keep.max_mb or 0
        folders.append(NeededFolder("database", file.parent, room_mb, synced=True))
    if settings.images is not None:
        folders.append(NeededFolder("[images] dir", settings.images.dir, settings.images.min_free_mb))
    login, _, _ = settings.database.partition("://")[2].rpartition("@")
    return HostNeeds(
        config,
        unit,
        process,
        folders=tuple(folders),
        sync_within_ms=settings.commit_ms,
        secret_keys=_secrets([service.keys for service in settings.service]),
        holds_password=":" in login or "password=" in settings.database,
    )


def _ports(wire: WireSettings) -> tuple[tuple[str, int], ...]:
    found = []
    for name in ("publish", "serve", "commands"):
        _, _, port = (getattr(wire, name) or "").rpartition(":")
        if port.isdecimal() and (getattr(wire, name) or "").startswith("tcp://"):
            found.append((f"[wire] {name}", int(port)))
    return tuple(found)


def _own_keys(wire: WireSettings) -> tuple[Path, ...]:
    return (wire.keys.server_secret_file,) if wire.keys is not None else ()


def _allow_lists(wire: WireSettings) -> tuple[Path, ...]:
    return (wire.keys.clients_dir,) if wire.keys is not None else ()


def _secrets(keys: list[ClientKeySettings | None]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(one.secret_file for one in keys if one is not None))
