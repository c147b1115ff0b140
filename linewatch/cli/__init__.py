"""The command line. A room's commands stand in its `cli` module, which is imported when one of them is called.

Exit codes: 0 done; 1 the output cannot be written; 2 bad configuration or arguments; 3 source, or what `check` tried
or `doctor` found cannot be used; 4 engine; 5 wire;
6 journal; 7 a stage failed or hangs; 8 history; 9 `compare` found more differences than its limits allow.
A user's mistake is a line on stderr, never a traceback.
"""

import os
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError

from linewatch import __version__
from linewatch.cli.output import PipeClosed, check_output, drop_output
from linewatch.contracts.errors import ConfigError, LinewatchError, OutdatedWarning, StageError

COMMANDS = {
    "Inspect": {
        "run": ("daemon.cli:run", "Inspect what the configured source gives, until it ends or SIGTERM comes."),
        "strip": (
            "strip.cli:strip",
            "Join the services of several cameras over one strip into one record of its coils, until SIGTERM.",
        ),
        "replay": ("daemon.cli:replay", "Inspect a recording with the same program; loses nothing, at any pace."),
        "join": ("strip.cli:join", "Join the verdict files of a strip's cameras into one record of its coils."),
        "record": ("daemon.cli:record", "Record a camera: lossless video, and a sidecar that replay reads back."),
        "calibrate": (
            "calibration.cli:calibrate",
            "Calibrate a camera, and keep the result in a file by its serial.",
        ),
        "simulate": ("daemon.cli:simulate", "Render a strip with known defects to a recording, and write the truth."),
        "demo": ("demo:demo", "Render a coil, inspect it at line rate with the shipped engines, show what was found."),
        "check": (
            "check.cli:check",
            "Try everything that a configuration names, without starting anything. Exit code 3: something fails.",
        ),
        "doctor": (
            "doctor.cli:doctor",
            "Look at this host, and say what it costs the mill and which command mends it. Exit code 3: a fault.",
        ),
        "support-bundle": (
            "doctor.cli:support_bundle",
            "Put what a helper needs to see into one archive: configuration without secrets, logs, status, versions.",
        ),
        "backup": ("backup.cli:backup", "Put all state of this host into one archive while services run; verify one."),
        "restore": ("backup.cli:restore", "Put the state back from an archive: all of it, or nothing."),
        "cameras": (
            "capture.cli:cameras",
            "List the GenICam cameras on the network and on USB; show one's features, or take a picture.",
        ),
        "engines": ("inference.cli:engines", "List the engines and verify each against its manifest."),
        "build": ("daemon.cli:build", "Build an engine's TensorRT plan ahead of the service's start."),
        "schema": ("wire.cli:schema", "Print the JSON Schema of every message on the wire."),
    },
    "Operate": {
        "watch": ("client.cli:watch", "Show a running service's defects, alarms and health in the terminal."),
        "status": (
            "client.cli:status",
            "Show the state of a running service and its bridges, once. Exit code 1: it does not inspect.",
        ),
        "hmi": ("hmi.cli:hmi", "Serve the page that shows a running service in a browser, until SIGTERM."),
        "hmi-password": ("hmi.cli:hmi_password", "Set the password with which a person logs in to the page."),
        "alarms": ("client.cli:alarms", "List the alarms of a running service, the shelved and suppressed ones last."),
        "ack": ("client.cli:ack", "Acknowledge an alarm of a running service, or all."),
        "shelve": ("client.cli:shelve", "Keep a rule's alarms from asking for an operator, for a while."),
        "unshelve": ("client.cli:unshelve", "Let a rule's alarms ask for an operator again."),
        "coil": ("daemon.coils.cli:coil", "Tell a running service that a coil starts or ends, or its data."),
        "engine": (
            "engine:engine",
            "Import an engine from elsewhere; load one beside those of a running service, then promote or drop it.",
        ),
        "reload": ("client.cli:reload", "Have a running service read its rules again from its files."),
        "keys": ("wire.cli:keys", "Make keys, and decide what their holders may do."),
        "audit": (
            "wire.cli:audit",
            "Show who asked a service for what, and what became of it. Exit code 5: lines are missing.",
        ),
        "opcua-trust": (
            "plant.opcua.cli:opcua_trust",
            "List the clients of an OPC UA bridge that are trusted or were refused; trust one, or no longer.",
        ),
        "opcua-password": (
            "plant.opcua.cli:opcua_password",
            "Ask for a password, and print what stands for it in the configuration of an OPC UA bridge.",
        ),
        "bridge": ("plant.cli:bridge", "Show a running service to a plant's controllers, in a process of its own."),
    },
    "Coils": {
        "history": ("history.cli:history", "Store what running services publish in a database, until SIGTERM comes."),
        "coils": ("history.cli:coils", "List the coils of the history, the newest first."),
        "defects": ("history.cli:defects", "List the defects of a coil in the history, along the coil."),
        "label": ("history.cli:label", "Record that a defect of the history is right, of another class, or none."),
        "missed": ("history.cli:missed", "Record that a defect was missed, and where it lies in a passage."),
        "labels": ("history.cli:labels", "Export the labels of the history to a file, for retraining."),
        "learn": (
            "learning.cli:learn",
            "Learn from the labels of the history: write a new engine beside the old one, and say what would change.",
        ),
        "report": ("review.cli:report", "Write a coil's report: a page that prints well, a PDF, tables."),
        "learn-normal": (
            "learn_normal:learn_normal",
            "Learn from a line's clean strip what is normal there; what that strip is full of becomes less probable.",
        ),
        "regrade": ("review.cli:regrade", "Grade stored coils again by other rules, without pixels."),
        "picture": ("review.cli:picture", "Draw a coil with its found defects."),
        "compare": (
            "compare:compare",
            "Compare two records of one recording: what B lost, found anew, classified or sized differently from A, "
            "the reference. Or compare run folders of tlu_net, picture by picture. Exit code 9: beyond a --fail limit.",
        ),
    },
    "Train": {
        "datasets": ("datasets.cli:datasets", "Say what a data set holds and how it is read, and list its problems."),
        "train": ("evaluation.cli:train", "Train a network by a recipe: a paper's protocol or the house's."),
        "evaluate": ("evaluation.cli:evaluate", "Judge an engine or a checkpoint on labelled pictures."),
        "judge": (
            "evaluation.cli:judge",
            "Judge a chain of engines on whole frames with masks: defects told and called, against the truth.",
        ),
        "fit-probability": (
            "evaluation.cli:fit_probability",
            "Fit the probability of an engine's defects on judged frames, and write it to its manifest.",
        ),
        "export": ("evaluation.cli:export", "Make an engine of a checkpoint: ONNX, manifest, card."),
        "fit-thresholds": (
            "evaluation.cli:fit_thresholds",
            "Choose an engine's thresholds on labelled pictures, and write them to its manifest.",
        ),
        "quantize": ("evaluation.cli:quantize", "Make an INT8 engine of an FP32 one, or say why it is not as good."),
        "explain": ("evaluation.cli:explain", "Draw where an engine or a checkpoint looks in a picture."),
        "networks": ("evaluation.cli:networks", "List the networks: size, operations, time per tile, authors."),
    },
}
"""Per group of the help, in its order: the module and function of a command, and what the command does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    check_output()
    warnings.showwarning = _show_warning
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except LinewatchError as error:
        _say(str(error))
        code = error.exit_code
        if isinstance(error, StageError) and threading.active_count() > 1:
            os._exit(code)  # the thread of a hung stage would hold up the interpreter's exit
    except UnicodeEncodeError as error:
        _say(f"found {error.object!r}, which is no valid text; expected UTF-8; correct the argument")
        code = ConfigError.exit_code
    except PipeClosed:
        code = 0
    except KeyboardInterrupt:
        code = 130
    drop_output()
    return code


def _say(text: str) -> None:
    """Print an error, if anyone can read it."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"linewatch: {text}", file=sys.stderr, flush=True)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Show what is outdated in a user's file as plainly as an error, and other warnings as Python does."""
    if issubclass(category, OutdatedWarning):
        _say(str(message))
    elif (to := file or sys.stderr) is not None:
        with suppress(OSError):
            to.write(warnings.formatwarning(message, category, filename, lineno, line))


def command_line() -> App:
    """Return the command line with every command registered, and none imported."""
    app = App(
        name="linewatch",
        help="Real-time surface inspection of steel strip.",
        version=__version__,
        help_format="plaintext",
        group_commands=Group("General", sort_key=len(COMMANDS)),
        default_parameter=Parameter(negative=()),  # no --no-json beside --json
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for place, (title, commands) in enumerate(COMMANDS.items()):
        group = Group(title, sort_key=place)
        for order, (name, (target, summary)) in enumerate(commands.items()):
            app.command(f"linewatch.{target}", name=name, help=summary, group=group, sort_key=order)
    app.register_install_completion_command(help="Install completion for the shell in use: bash, zsh or fish.")
    return app


def _run(words: list[str]) -> int:
    if not words:
        raise ConfigError("Expected a command. See `linewatch --help`.")
    try:
        return int(command_line()(words) or 0)
    except CycloptsError as error:
        found = str(error)
        if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
            found = f"Unexpected argument {' '.join(error.unused_tokens)}."
        raise ConfigError(f"{found} See `{' '.join(('linewatch', *(error.command_chain or ())))} --help`.") from error
