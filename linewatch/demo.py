"""`linewatch demo`: a rendered coil through the real service with the shipped engines, judged by the rendered truth."""

import json
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from linewatch.config.wire import ANY_PORT, WireSettings
from linewatch.files import write_output
from linewatch.logs import configure_logs
from linewatch.service_settings import load_settings
from linewatch.terminal import print_pairs

if TYPE_CHECKING:
    from linewatch.review.against_truth import TruthScores


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for all files.")] = Path("out/demo"),
    length_m: Annotated[float, Parameter(help="Length of the coil.")] = 100.0,
    config: Annotated[Path, Parameter(help="Configuration of a service.")] = Path("configs/simulator.toml"),
    seed: Annotated[int, Parameter(help="Seed of the rendered strip.")] = 7,
) -> None:
    """Render, inspect at line rate, judge and draw a coil; the files lie in `out`. Raises LinewatchError.

    In a terminal, with the extras `hmi` and `history`, a simulated line with its page then runs until Ctrl-C.
    """
    from linewatch.capture.cameras.recording import RecordingCamera, RecordingSource
    from linewatch.capture.cameras.simulator import SimulatorSource
    from linewatch.daemon.replay import replay
    from linewatch.daemon.simulate import render
    from linewatch.daemon.summary import summary_rows
    from linewatch.review.against_truth import score_against_truth
    from linewatch.review.coil_picture import draw_coil
    from linewatch.review.from_verdicts import read_coil

    configure_logs("warning")
    settings = load_settings(config)
    source = SimulatorSource(type="simulator", seed=seed, length_m=length_m, coil=f"DEMO-{seed}")
    video, verdicts = out / "coil.avi", out / "verdicts.jsonl"
    truth = render(source, settings.line, video, out / "truth.json")
    replayed = {
        "source": RecordingSource(type="recording", path=video),
        "wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT),
    }
    summary = replay(settings.model_copy(update=replayed), pace="line-rate", out=verdicts)
    record = read_coil(verdicts)
    scores = score_against_truth([defect.box for defect in record.defects], truth)
    called = score_against_truth([defect.box for defect in record.defects if not defect.tentative], truth)
    true_boxes = [defect.box for defect in truth.defects]
    draw_coil(RecordingCamera(video, settings.line), settings.line, record, true_boxes, out / "coil.png")
    facts = json.dumps({**asdict(summary), **asdict(scores)}, indent=1)
    write_output(out / "summary.json", f"{facts}\n".encode())
    print_pairs(
        "linewatch demo",
        [
            *summary_rows(summary, ", the line's own pace: threading, running, tailing out"),
            *_score_rows(scores, "published"),
            *_score_rows(called, "called"),
            ("verdicts", str(verdicts)),
            ("picture", f"{out / 'coil.png'}  (white: rendered truth, coloured: found)"),
            ("recording, truth", f"{video}, {out / 'truth.json'}"),
        ],
    )
    if sys.stdin.isatty() and sys.stdout.isatty():
        _show_page(out / "page")


def _show_page(folder: Path) -> None:
    """Run a simulated line with its page until Ctrl-C; without the page's packages, say how to get them."""
    try:
        from linewatch.demo_line import DemoLine
    except ModuleNotFoundError as error:
        print(f"The page in a browser needs {error.name}: pip install 'linewatch[hmi,history]'")
        return
    password = secrets.token_urlsafe(9)
    with DemoLine(folder, "demo", password) as line:
        print(f"\nA simulated line runs on, and its page is at {line.url}/\nLog in as demo, password {password}")
        print("Ctrl-C ends it.", flush=True)
        line.wait()


def _score_rows(scores: "TruthScores", which: str) -> list[tuple[str, str]]:
    """Return recall and precision of the published or of the called defects."""
    by_class = ", ".join(f"{name} {hit}/{true}" for name, (hit, true) in scores.hit_by_class.items())
    return [
        (f"recall, {which}", f"{scores.recall:.1%}  ({scores.hit} of {scores.true} rendered: {by_class})"),
        (f"precision, {which}", f"{scores.precision:.1%}  ({scores.right} of {scores.found} found are right)"),
    ]
