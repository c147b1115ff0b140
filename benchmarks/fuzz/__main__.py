"""Fuzzes the readers of files and messages: `python -m benchmarks.fuzz --surface level2-json --seconds 10 --seed 1`.

Each surface runs in a process of its own, so that a crash of native code is seen too. A reader may return, or raise an
error that it documents; anything else, or more than HANG_S for one input, is a finding, and its input is saved. An
input that brings out a kind of refusal for the first time joins the corpus, and is kept in the folder of outputs.
"""

import argparse
import hashlib
import json
import math
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from rich.progress import track

from benchmarks.fuzz.mutation import mutated
from benchmarks.fuzz.surfaces import SURFACES, Surface

HANG_S: Final = 5.0
MOST_MEMORY_BYTES: Final = 8 << 30
_VARYING: Final = re.compile(r"\d+|'[^']*'|\"[^\"]*\"|/\S+")
_MOST_CORPUS: Final = 2000
_MOST_KINDS: Final = 20_000


class HangError(BaseException):
    """One input took longer than HANG_S. Not an Exception, so that no reader catches it."""


@dataclass(slots=True)
class FuzzOutcome:
    """One surface. grown_mb: resident memory from a tenth of the time to its end."""

    surface: str
    inputs: int = 0
    inputs_per_s: float = 0.0
    refused: int = 0
    error_kinds: int = 0
    findings: int = 0
    grown_mb: float = 0.0
    ended_by: str = ""


def fuzz(
    surface: Surface,
    seconds: float,
    seed: int,
    folder: Path,
    out: Path,
    *,
    most_inputs: float = math.inf,
    hang_s: float = HANG_S,
) -> FuzzOutcome:
    """Fuzz one surface in this process. The newest input stands in `folder`, findings in `out`/findings.

    hang_s: SIGALRM comes when one input takes longer; 0: never.
    """
    chance = random.Random(seed)
    kept = out / "corpus" / surface.name
    corpus = surface.first() + [path.read_bytes() for path in sorted(kept.glob("*"))]
    outcome, kinds, found = FuzzOutcome(surface.name), set[str](), set[str]()
    path, me = folder / surface.file, psutil.Process()
    began = time.perf_counter()
    settled = 0
    while (spent := time.perf_counter() - began) < seconds and outcome.inputs < most_inputs:
        if not settled and spent > seconds / 10:
            settled = me.memory_info().rss
        data = mutated(corpus, chance)
        path.write_bytes(data)
        outcome.inputs += 1
        signal.setitimer(signal.ITIMER_REAL, hang_s)
        try:
            surface.read(path)
        except surface.refusals as error:
            outcome.refused += 1
            kind = f"{type(error).__name__}: {_VARYING.sub('_', str(error))[:200]}"
            if kind not in kinds and len(kinds) < _MOST_KINDS:
                kinds.add(kind)
                if len(corpus) < _MOST_CORPUS:
                    corpus.append(data)
                    _save(kept, data)
        except (Exception, HangError) as error:
            kind = f"{type(error).__name__}: {_VARYING.sub('_', str(error))[:200]}"
            if kind not in found:
                found.add(kind)
                _save(out / "findings" / surface.name, data)
                print(f"{surface.name}: {kind}", file=sys.stderr)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if extra := [each for each in folder.iterdir() if each != path]:
            found.add("wrote a file")
            _save(out / "findings" / surface.name, data)
            for each in extra:
                each.unlink()
    outcome.inputs_per_s = round(outcome.inputs / (time.perf_counter() - began), 1)
    outcome.error_kinds, outcome.findings = len(kinds), len(found)
    outcome.grown_mb = round((me.memory_info().rss - settled) / 1e6, 1)
    return outcome


def _save(folder: Path, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _hung(_number: int, _frame: object) -> None:
    raise HangError(f"longer than {HANG_S} s")


def _alone(surface: Surface, seconds: float, seed: int, folder: Path, out: Path) -> None:
    signal.signal(signal.SIGALRM, _hung)
    warnings.simplefilter("ignore")  # a warning for each input would be the slowest part
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    print(json.dumps(asdict(fuzz(surface, seconds, seed, folder, out))))


def _in_a_process(surface: Surface, args: argparse.Namespace) -> FuzzOutcome:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--surface", surface.name, "--alone", folder]
        command += ["--seconds", str(args.seconds), "--seed", str(args.seed), "--out", str(args.out)]
        limit_s = 2 * args.seconds + 120
        try:
            ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, timeout=limit_s)
            code = ended.returncode
        except subprocess.TimeoutExpired:
            ended, code = None, -signal.SIGKILL
        if ended is not None and code == 0:
            return FuzzOutcome(**json.loads(ended.stdout.splitlines()[-1]))
        if (path := Path(folder) / surface.file).exists():
            _save(args.out / "findings" / surface.name, path.read_bytes())
        return FuzzOutcome(surface.name, findings=1, ended_by=f"signal {-code}" if code < 0 else f"exit code {code}")


def table(outcomes: list[FuzzOutcome]) -> str:
    """Return the outcomes as a table in Markdown."""
    lines = ["| surface | inputs | inputs/s | refused | kinds of refusal | findings | memory grew, MB |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for each in outcomes:
        findings = f"{each.findings}, {each.ended_by}" if each.ended_by else str(each.findings)
        cells = (f"{each.inputs:,}", each.inputs_per_s, f"{each.refused:,}", each.error_kinds, findings, each.grown_mb)
        lines.append(f"| {each.surface} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=__doc__)
    parser.add_argument("--surface", action="append", choices=sorted(SURFACES), help="default: all of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each surface")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    chosen = [SURFACES[name] for name in args.surface or SURFACES]
    if args.alone:
        _alone(chosen[0], args.seconds, args.seed, args.alone, args.out)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for surface in track(chosen, "fuzzing"):
        outcomes.append(_in_a_process(surface, args))
        (args.out / "fuzz.md").write_text(table(outcomes))
        (args.out / "fuzz.json").write_text(json.dumps([asdict(each) for each in outcomes], indent=1) + "\n")
    print(table(outcomes), end="")
    return 1 if any(each.findings for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
