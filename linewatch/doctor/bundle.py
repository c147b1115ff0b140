"""What a helper needs to see of a host, in one archive: bounded, without secrets and without pixels."""

import io
import json
import os
import platform
import subprocess
import tarfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from linewatch import __version__
from linewatch.check.units import UNIT_FOLDERS
from linewatch.client.keys import ClientKeys
from linewatch.client.subscriber import Subscriber
from linewatch.config.history import HistorySettings
from linewatch.config.redact import redacted, redacted_tree
from linewatch.contracts.errors import WireError
from linewatch.doctor.finding import HostFinding
from linewatch.doctor.needs import HostNeeds
from linewatch.doctor.packages import installed_versions
from linewatch.doctor.processor import text
from linewatch.plant.settings import BridgeSettings
from linewatch.service_settings import ServiceSettings
from linewatch.strip.settings import StripSettings
from linewatch.wire.schema import StatusMessage, Topic

MOST_BYTES, MOST_BYTES_OF_ONE = 16 << 20, 4 << 20
_LOG_LINES, _COMMAND_S, _ANSWER_S, _MOST_ENTRIES = 20_000, 20.0, 2.0, 500
_UNIT_FACTS: Final = (
    "Id,ActiveState,SubState,Result,NRestarts,ExecMainStatus,ActiveEnterTimestamp,MemoryCurrent,TasksCurrent"
)
_KERNEL_WORDS: Final = "out of memory|oom-kill|I/O error|EXT4-fs error|XFS.*error|NVRM|Xid|link is down|USB disconnect"
_OWN_VARIABLES: Final = ("LINEWATCH_", "OMP_", "OPENBLAS_", "MKL_", "OPENCV_", "CUDA_", "LANG", "LC_", "TZ", "PYTHON")


@dataclass(slots=True)
class SupportBundle:
    """Files of text by name. known: secrets that are taken out of each. left_out: what is not there, and why."""

    known: Sequence[str]
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, content: str) -> None:
        """Add a text, without secrets; of a long one its end, which is the newest."""
        data = redacted(content, self.known).encode(errors="replace")
        room = min(MOST_BYTES_OF_ONE, MOST_BYTES - sum(map(len, self.files.values())))
        if len(data) > room:
            self.left_out.append(f"{name}: the first {len(data) - room} bytes, for size")
            data = data[len(data) - room :].partition(b"\n")[2]
        self.files[name] = data

    def add_tree(self, name: str, tree: Any) -> None:
        """Add a tree as JSON, without secrets."""
        self.add(name, json.dumps(redacted_tree(tree, self.known), indent=1, default=str) + "\n")

    def archive(self) -> bytes:
        """Return the files as .tar.gz, in a folder of one name."""
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz") as tar:
            for name, data in self.files.items():
                about = tarfile.TarInfo(f"linewatch-support/{name}")
                about.size, about.mtime, about.mode = len(data), int(time.time()), 0o600
                tar.addfile(about, io.BytesIO(data))
        return held.getvalue()


def collect(
    bundle: SupportBundle,
    tree: Any,
    settings: BaseModel | None,
    needs: HostNeeds,
    findings: Iterable[HostFinding],
    keys: ClientKeys | None,
    logs: Sequence[Path],
) -> None:
    """Fill the bundle. settings: None where the configuration has faults. logs: files, beside what journald has."""
    bundle.add_tree("host.json", host_facts())
    bundle.add_tree("doctor.json", [asdict(finding) for finding in findings])
    packages = "".join(f"{name}=={version}\n" for name, version in sorted(installed_versions().items()))
    bundle.add("packages.txt", packages)  # as `pip freeze`, without the addresses from which they came
    if tree:
        bundle.add_tree("configuration.json", tree)
    _add_folders(bundle, needs)
    _add_status(bundle, settings, keys)
    _add_journald(bundle, needs)
    for path in logs:
        try:
            bundle.add(f"logs/{path.name}", _end_of(path))
        except OSError as error:
            bundle.left_out.append(f"logs/{path.name}: {error.strerror}")
    if bundle.left_out:
        bundle.add("left-out.txt", "\n".join(bundle.left_out) + "\n")


def host_facts() -> dict[str, Any]:
    """Return what the host is, and the variables of the environment that change how linewatch runs."""
    release = [line for line in text(Path("/etc/os-release")).splitlines() if line.startswith("PRETTY_NAME=")]
    model = [line for line in text(Path("/proc/cpuinfo")).splitlines() if line.startswith("model name")]
    return {
        "linewatch": __version__,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "system": platform.platform(),
        "release": release[0].partition("=")[2].strip('"') if release else "",
        "python": platform.python_version(),
        "processor": model[0].partition(":")[2].strip() if model else platform.machine(),
        "load": os.getloadavg(),
        "up_s": float((text(Path("/proc/uptime")) or "0").split()[0]),
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_OWN_VARIABLES)},
    }


def _add_folders(bundle: SupportBundle, needs: HostNeeds) -> None:
    """Add what lies in the folders that are written: names, sizes and times, no content."""
    lines = []
    for needed in needs.folders:
        lines.append(f"{needed.setting}: {needed.path.absolute()}")
        try:
            entries = sorted(os.scandir(needed.path), key=lambda entry: -entry.stat(follow_symlinks=False).st_mtime)
        except OSError as error:
            lines.append(f"  {error.strerror}")
            continue
        for entry in entries[:_MOST_ENTRIES]:
            about = entry.stat(follow_symlinks=False)
            when = datetime.fromtimestamp(about.st_mtime, UTC).isoformat(timespec="seconds")
            lines.append(f"  {when} {about.st_size:>12} {entry.name}")
        if len(entries) > _MOST_ENTRIES:
            lines.append(f"  and {len(entries) - _MOST_ENTRIES} older ones")
    if lines:
        bundle.add("folders.txt", "\n".join(lines) + "\n")


def _add_status(bundle: SupportBundle, settings: BaseModel | None, keys: ClientKeys | None) -> None:
    """Add the heartbeat and the state of each service that the configuration names, where it answers."""
    for name, publish, serve, own_keys in _services(settings, keys):
        if publish.endswith(":*") or serve.endswith(":*"):
            bundle.left_out.append(f"status of {name}: its port is not fixed")
            continue
        try:
            with Subscriber(publish, serve, (Topic.STATUS,), keys=own_keys, answer_timeout_s=_ANSWER_S) as subscriber:
                bundle.add(f"status/{name}-snapshot.json", subscriber.snapshot().model_dump_json(indent=1) + "\n")
                ends_s = time.monotonic() + _ANSWER_S
                while (left_s := ends_s - time.monotonic()) > 0:
                    if isinstance(message := subscriber.poll(left_s), StatusMessage):
                        bundle.add(f"status/{name}.json", message.model_dump_json(indent=1) + "\n")
                        break
        except WireError as error:
            bundle.left_out.append(f"status of {name}: {error}")


def _services(settings: BaseModel | None, keys: ClientKeys | None) -> list[tuple[str, str, str, ClientKeys | None]]:
    """Return name, publish, serve and keys of the services to ask."""
    if isinstance(settings, ServiceSettings | StripSettings):
        wire = settings.wire
        return [("service", _reachable(wire.publish), _reachable(wire.serve), keys)]
    if isinstance(settings, BridgeSettings):
        service = settings.service
        return [("service", service.publish, service.serve, keys or service.client_keys)]
    if isinstance(settings, HistorySettings):
        return [
            (
                one.name,
                one.publish,
                one.serve,
                keys or (ClientKeys(one.keys.secret_file, one.keys.server_public_file) if one.keys else None),
            )
            for one in settings.service
        ]
    return []


def _reachable(endpoint: str) -> str:
    """Return the endpoint to connect to, of one to bind."""
    for every in ("tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"):
        endpoint = endpoint.replace(every, "tcp://127.0.0.1:")
    return endpoint


def _add_journald(bundle: SupportBundle, needs: HostNeeds) -> None:
    """Add the newest lines of each unit of linewatch, how it is, and what the kernel says of memory, disks and GPUs."""
    units = [needs.unit.name] if needs.unit is not None else _units()
    for unit in units:
        _add_said(bundle, f"logs/{unit}.jsonl", ["journalctl", "-u", unit, "-o", "cat", "-n", str(_LOG_LINES)])
        _add_said(bundle, f"units/{unit}.txt", ["systemctl", "show", unit, f"--property={_UNIT_FACTS}"])
    _add_said(bundle, "logs/kernel.txt", ["journalctl", "-k", "-n", "500", "-g", _KERNEL_WORDS])


def _units() -> list[str]:
    return sorted({path.name for folder in UNIT_FOLDERS for path in folder.glob("linewatch*.service")})


def _add_said(bundle: SupportBundle, name: str, command: list[str]) -> None:
    try:
        said = subprocess.run(
            [*command, "--no-pager"], capture_output=True, text=True, errors="replace", timeout=_COMMAND_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        bundle.left_out.append(f"{name}: {command[0]}: {type(error).__name__}")
        return
    if said.stdout.strip() and said.returncode == 0:
        bundle.add(name, said.stdout)
    else:
        bundle.left_out.append(f"{name}: {command[0]} has nothing: {' '.join(said.stderr.split())[:200]}".rstrip(": "))


def _end_of(path: Path) -> str:
    """Return the last lines of a log file. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - MOST_BYTES_OF_ONE))
        data = file.read(MOST_BYTES_OF_ONE)
    if size > MOST_BYTES_OF_ONE:
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")
