"""A line of real processes under faults, for as long as asked: `python -m benchmarks.soak --minutes 120`.

Exit code 1: something was lost, doubled, or did not recover. Ctrl-C ends it early, with its report. `--frames N`
replays N frames instead, without faults, and tells the slope of the memory.
"""

import argparse
import logging
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.faults import in_namespace
from benchmarks.soak.faults import inject
from benchmarks.soak.observer import Observer
from benchmarks.soak.processes import BESIDE, Line, lacking
from benchmarks.soak.replay import replay
from benchmarks.soak.report import Done, Report
from benchmarks.soak.schedule import PROCESSES, ScheduledFault, schedule

START_WITHIN_S: Final = 180.0
RECOVERED_WITHIN_S: Final = 60.0
STORED_WITHIN_S: Final = 120.0
SAMPLE_S: Final = 2.0
QUIET_S: Final = 12.0
"""Between two faults, in the mean."""
_POLL_S: Final = 0.05


class Soak:
    """One run."""

    def __init__(self, line: Line, report: Report, console: Console) -> None:
        self.line, self.report, self.console = line, report, console
        self.over = threading.Event()
        self._began_s = time.monotonic()
        self._fault: ScheduledFault | str = "the start"
        self._lock = threading.Lock()

    @property
    def at_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def tell(self, what: str) -> None:
        """Note what is wrong, and say it at once with what is needed to repeat it."""
        with self._lock:
            fault = str(self._fault)
            self.report.wrong.append({"at_s": round(self.at_s, 1), "fault": fault, "what": what})
            self.console.print(f"WRONG at {self.at_s:.0f} s, seed {self.report.seed}, after {fault}: {what}")

    def run(self) -> None:
        """Start the line, inject faults until the time is over, check, and end."""
        observer = Observer(self.line, self.tell)
        watching = threading.Thread(target=self._watch)
        try:
            self._start(observer)
            watching.start()
            self._inject(observer)
            self._fault = "the end"
            self.console.print("the time is over; waiting until the history and the plant have everything")
            observer.check_history(STORED_WITHIN_S)
        finally:
            self.report.lasted_s = self.at_s
            self.over.set()
            if watching.is_alive():
                watching.join()
            with suppress(AttributeError):
                observer.stop()
            for name, code in self.line.end().items():
                if code and name not in BESIDE:
                    self.tell(f"{name} ended with {code}")
            for name, ledger in observer.ledgers.items():
                self.report.lines[name] = ledger.lines
                self.report.alarms[name] = len(ledger.transitions)

    def _start(self, observer: Observer) -> None:
        for name in (*BESIDE, *PROCESSES):
            self.line.start(name)
        begun_ns, begun_s = time.monotonic_ns(), time.monotonic()
        time.sleep(1.0)
        observer.listen_to_broker()
        waiting = {name: observer.recovery(name) for name in PROCESSES}
        while waiting and not self.over.is_set():
            for name in [name for name, works in waiting.items() if works(begun_ns)]:
                waiting.pop(name)
                self.report.ready_s[name] = round(time.monotonic() - begun_s, 2)
            self._keep_alive()
            if time.monotonic() > begun_s + START_WITHIN_S:
                self.tell(f"not ready within {START_WITHIN_S:g} s: {', '.join(waiting)}")
                return
            time.sleep(_POLL_S)
        self.console.print("ready:", ", ".join(f"{name} {at:.1f} s" for name, at in self.report.ready_s.items()))

    def _inject(self, observer: Observer) -> None:
        begun_s, until_s = self.at_s, self.at_s + self.report.minutes * 60
        bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=self.console)
        with bar as progress:
            task = progress.add_task("soak", total=until_s - begun_s)
            for fault in schedule(self.report.seed, QUIET_S):
                resume_s = self.at_s + fault.quiet_s
                while self.at_s < resume_s and not self.over.is_set():
                    progress.update(task, completed=self.at_s - begun_s)
                    self._keep_alive()
                    self.over.wait(0.2)
                if self.over.is_set() or self.at_s >= until_s:
                    return
                self._fault = fault
                progress.update(task, completed=self.at_s - begun_s, description=f"{fault.kind} {fault.target}")
                self._do(fault, observer)

    def _do(self, fault: ScheduledFault, observer: Observer) -> None:
        done = Done(fault.number, fault.kind, fault.target, round(self.at_s, 1), 0.0)
        self.report.faults.append(done)
        works = observer.recovery(fault.target)
        begun_ns = time.monotonic_ns()
        try:
            done.note = inject(self.line, fault)
        except Exception as error:
            self.tell(f"the fault could not be injected: {error!r}")
        since_ns = begun_ns if fault.kind == "kill" else time.monotonic_ns()
        done.lasted_s = round((time.monotonic_ns() - begun_ns) / 1e9, 1)
        while not works(since_ns):
            if time.monotonic_ns() > since_ns + RECOVERED_WITHIN_S * 1e9:
                self.tell(f"{fault.target} has not recovered within {RECOVERED_WITHIN_S:g} s")
                break
            self._keep_alive()
            time.sleep(_POLL_S)
        else:
            done.recovered_s = round((time.monotonic_ns() - since_ns) / 1e9, 2)
        again = "not in time" if done.recovered_s is None else f"{done.recovered_s:.1f} s"
        self.console.print(f"{done.begun_s:7.0f} s  {fault}: recovered after {again}  {done.note}")

    def _keep_alive(self) -> None:
        """Start again what ended by itself, and tell it."""
        for name, process in self.line.processes.items():
            if (code := process.poll()) is not None:
                self.tell(f"{name} ended by itself with {code}: see {name}.log")
                self.line.start(name)

    def _watch(self) -> None:
        pids: dict[str, int] = {}
        while not self.over.wait(SAMPLE_S):
            for name in PROCESSES:
                lives = self.report.lives.setdefault(name, [])
                if pids.get(name) != (pid := self.line.processes[name].pid):
                    pids[name] = pid
                    lives.append([])
                if (sample := self.line.sample(name)) is not None:
                    lives[-1].append((self.at_s, sample))


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0, help="how long faults are injected")
    parser.add_argument("--seed", type=int, default=18, help="of the schedule")
    parser.add_argument("--line-rate-hz", type=float, default=300.0, help="of each strip; what this host can inspect")
    parser.add_argument("--out", type=Path, default=Path("out/soak"), help="folder of the report")
    parser.add_argument("--frames", type=int, default=0, help="replay so many frames without faults, and nothing else")
    arguments = parser.parse_args()
    console = Console(markup=False, soft_wrap=True)
    if arguments.frames:
        return replay(arguments.frames, arguments.out, console)
    if packages := lacking():
        console.print(f"the soak's line needs programs that are not installed: apt install {' '.join(packages)}")
        return 3
    if (code := in_namespace("benchmarks.soak", sys.argv[1:])) is not None:
        return code
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # asking a bridge that is down is no news
    report = Report(arguments.seed, arguments.minutes, arguments.line_rate_hz)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="linewatch-soak-") as name:
        length_m = (arguments.minutes + 20) * 60 * arguments.line_rate_hz / 1e3
        line = Line(Path(name), arguments.line_rate_hz, length_m)
        soak = Soak(line, report, console)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: soak.over.set())
        try:
            soak.run()
            for leak in report.leaks():
                soak.tell(leak)
        finally:
            report.write(arguments.out)
            for log in Path(name).glob("*.log"):
                (arguments.out / log.name).write_bytes(log.read_bytes()[-5_000_000:])
    console.print(report.tables())
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
