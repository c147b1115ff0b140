"""The line of the soak, all of it real: four cameras' services, strip, history, page and two bridges.

Beside them run two cameras, a broker and a database.
"""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.faults import ROOT, SmallDisk
from benchmarks.soak.camera import record
from benchmarks.soak.schedule import SERVICES, STORED
from linewatch.config.line import LineSettings

DISK_KB: Final = 300_000
MOSQUITTO: Final = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
GIGE_CAMERA: Final = "arv-fake-gv-camera-0.8"
POSTGRESQL: Final = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=Path("initdb")).parent
NOBODY: Final = "65534"
"""Debian's user nobody: PostgreSQL refuses to run as root, which whoever makes the namespace is inside it."""
CAMERAS: Final = {"recorded": "camera", "gige": "gige-camera"}
"""The process that is the camera of a service."""
BESIDE: Final = ("broker", "database", *CAMERAS.values())
RECORDED_FRAMES: Final = 60
COIL_M: Final = 100.0
"""Between two welds of the simulated strip: at 0.3 m/s another coil begins every five and a half minutes."""
_LINE: Final = """
[line]
camera = "{name}"
line_rate_hz = {rate}
across_offset_mm = {offset}
"""
_ENCODER: Final = """
[line.encoder]
counts_per_mm = 10.0
counts_per_line = 10.0
"""
_COMMON: Final = """
[inference]
chain = "cascade"
workers = 1
engines_dir = "{folder}/engines"
[coil_data]
folder = "{folder}/{name}-level2"
"""
_ALARM: Final = """
[[alarm]]
name = "many"
min_count = 2
within_m = 1.0
deadband_count = 1
off_delay_m = 1.0
latch = false
"""


@dataclass(frozen=True)
class Sample:
    """What a process has of the machine at a moment."""

    rss_mb: float
    threads: int
    descriptors: int


class Line:
    """Every process by name, each with `FOLDER/NAME.toml`, `NAME.log`, and a control folder of its faults."""

    def __init__(self, folder: Path, rate_hz: float, length_m: float) -> None:
        self.folder, self.rate_hz = folder, rate_hz
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.disks: dict[str, SmallDisk] = {}
        self.commands: dict[str, list[str]] = {}
        served = [f"{one}-{what}" for one in (*SERVICES, "strip") for what in ("publish", "serve")]
        names = ("broker", "database", "page", "modbus", "camera", *served)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        shutil.copytree(ROOT / "engines", folder / "engines")
        record(folder / "recording", LineSettings(), RECORDED_FRAMES)
        frames_per_s = rate_hz / LineSettings().frame_lines
        welds_m = [COIL_M * number for number in range(1, int(length_m / COIL_M) + 1)]
        for number, name in enumerate(("cam1", "cam2")):
            source = (
                f'{_ENCODER}[source]\ntype = "simulator"\nseed = 7\nlength_m = {length_m}\ndefects_per_m = 2.0\n'
                f'coil = "SOAK"\nwelds_m = {welds_m}\nstrip_px = 3100\nview_offset_px = {1500 * number}\n'
                f'runs_on = "{folder}/began"\n'
                '[system_alarms]\noff = ["camera-lost", "coverage-low"]\n'
            )
            self._service(name, 750.0 * number, source)
        url = f"http://127.0.0.1:{self.ports['camera']}/"
        self._service("recorded", 0.0, f'[source]\ntype = "stream"\nurl = "{url}"\nlongest_gap_s = 600.0\n')
        self._service("gige", 0.0, '[source]\ntype = "genicam"\ncamera = "127.0.0.1"\ntrigger = "free"\n')
        self._strip()
        self._consumers()
        self._database()
        self.commands["broker"] = [MOSQUITTO, "-c", str(folder / "mosquitto.conf")]
        camera = [str(self.ports["camera"]), str(frames_per_s), str(folder / "recording")]
        self.commands["camera"] = [sys.executable, "-m", "benchmarks.soak.camera", *camera]
        self.commands["gige-camera"] = [GIGE_CAMERA, "-i", "127.0.0.1", "-s", "SOAK"]

    def endpoint(self, service: str, socket_name: str) -> str:
        """socket_name: `publish`, `serve` or `commands`."""
        if socket_name == "commands":  # over ipc, the service's own user may load engines
            return f"ipc://{self.folder}/{service}-commands"
        return f"tcp://127.0.0.1:{self.ports[f'{service}-{socket_name}']}"

    def control(self, name: str, fault: str) -> Path:
        """Return the file that a fault inside a process is set by; see `faulty_process`."""
        return self.folder / f"{name}-faults" / fault

    def start(self, name: str, more: tuple[str, ...] = ()) -> None:
        """Start a process, which must not run. more: arguments for this time."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.commands[name], *more],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the soak, which ends them
            )

    def kill(self, name: str) -> None:
        """Kill a process by SIGKILL."""
        self.processes[name].kill()
        self.processes[name].wait()

    def end(self) -> dict[str, int]:
        """End all by SIGTERM; return the exit codes by name."""
        for process in self.processes.values():
            process.terminate()
        codes = {}
        for name, process in self.processes.items():
            try:
                codes[name] = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        for disk in self.disks.values():
            disk.unmount()
        return codes

    def sample(self, name: str) -> Sample | None:
        """Measure a process; None while it does not run."""
        of = Path("/proc") / str(self.processes[name].pid)
        try:
            fields = dict(line.split(":", 1) for line in (of / "status").read_text().splitlines())
            descriptors = len(os.listdir(of / "fd"))
            return Sample(int(fields["VmRSS"].split()[0]) / 1e3, int(fields["Threads"]), descriptors)
        except (OSError, KeyError):
            return None

    def _service(self, name: str, offset: float, source: str) -> None:
        (self.folder / f"{name}-level2").mkdir()
        line = _LINE.format(name=name, rate=self.rate_hz, offset=offset)
        self._write(name, "run", line + source + _COMMON.format(folder=self.folder, name=name) + _ALARM, journal=True)

    def _strip(self) -> None:
        cameras = "".join(
            f'[[camera]]\nname = "{name}"\nside = "top"\nacross_offset_mm = {offset}\n' + self._sockets(name, all_=True)
            for name, offset in (("cam1", 0.0), ("cam2", 750.0))
        )
        self._write("strip", "strip", cameras + _ALARM, journal=True)

    def _consumers(self) -> None:
        services = "".join(f'[[service]]\nname = "{one}"\n{self._sockets(one)}' for one in STORED)
        url = self.database.replace("postgresql:", "postgresql+psycopg:")
        self._write("history", "history", f'database = "{url}"\n{services}', taxonomy=False)
        one = f"[service]\n{self._sockets('strip')}"
        page = f'[listen]\nport = {self.ports["page"]}\n[access]\npeople_file = "{self.folder}/people.json"\n'
        self._write("page", "hmi", f'line_name = "Soak"\nhistory = "{self.folder}/history.toml"\n{one}{page}')
        self._write(
            "mqtt",
            "bridge mqtt",
            f'{one}[broker]\nurl = "mqtt://127.0.0.1:{self.ports["broker"]}"\n[store]\nfile = "{self.folder}/mqtt.db"\n'
            '[plain]\nprefix = "soak"\ntopics = ["frame", "alarm", "coil"]\n',
            taxonomy=False,
        )
        of_recorded = f"[service]\n{self._sockets('recorded')}"
        self._write(
            "modbus",
            "bridge modbus",
            f"{of_recorded}[listen]\nport = {self.ports['modbus']}\n"
            "[alarm_bits]\nmany = 0\n[class_codes]\nscratch = 8\n",
            taxonomy=False,
        )
        (self.folder / "mosquitto.conf").write_text(
            f"user root\nlistener {self.ports['broker']} 127.0.0.1\nallow_anonymous true\n"
            f"persistence true\npersistence_location {self.folder}/\nmax_queued_messages 0\n"
        )

    def _database(self) -> None:
        data = self.folder / "database"
        as_nobody = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
        initdb = [str(POSTGRESQL / "initdb"), "-D", str(data), "-A", "trust", "-U", "mill", "--no-sync"]
        subprocess.run([*as_nobody, *initdb], check=True, stdout=subprocess.DEVNULL)
        settings = f"port = {self.ports['database']}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
        with (data / "postgresql.conf").open("a") as file:
            file.write(settings)
        self.commands["database"] = [*as_nobody, str(POSTGRESQL / "postgres"), "-D", str(data)]

    @property
    def database(self) -> str:
        """The history's, as libpq reads it."""
        return f"postgresql://mill@127.0.0.1:{self.ports['database']}/postgres"

    def _sockets(self, service: str, *, all_: bool = False) -> str:
        names = ("publish", "serve", "commands") if all_ else ("publish", "serve")
        return "".join(f'{name} = "{self.endpoint(service, name)}"\n' for name in names)

    def _write(self, name: str, command: str, text: str, *, journal: bool = False, taxonomy: bool = True) -> None:
        (self.folder / f"{name}-faults").mkdir()
        if journal:
            self.disks[name] = SmallDisk(self.folder / f"{name}-disk", DISK_KB)
            text += f'[journal]\ndir = "{self.folder}/{name}-disk/journal"\nmax_mb = 200\n'
            text += f"[wire]\n{self._sockets(name, all_=True)}"
        config = self.folder / f"{name}.toml"
        config.write_text((f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n' if taxonomy else "") + text)
        faulty = [sys.executable, "-m", "benchmarks.soak.faulty_process", str(self.folder / f"{name}-faults")]
        self.commands[name] = [*faulty, *command.split(), str(config)]


def lacking() -> list[str]:
    """Return the Debian packages of the programs beside linewatch that this host lacks."""
    needed = {MOSQUITTO: "mosquitto", str(POSTGRESQL / "postgres"): "postgresql", GIGE_CAMERA: "aravis-tools"}
    return [package for program, package in needed.items() if shutil.which(program) is None]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
