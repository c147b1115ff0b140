"""Commands as they are typed, run in this process: a new one takes longer to start than most of them take."""

import io
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

from linewatch import cli

ROOT = Path(__file__).parents[2]


def typed(*arguments: object) -> CompletedProcess[str]:
    """Run a command that neither starts a service nor logs, in the repository's root; return its exit code and what it
    said. An error that the command line does not expect is raised.
    """
    words = [str(argument) for argument in arguments]
    out, errors = io.StringIO(), io.StringIO()
    with chdir(ROOT), redirect_stdout(out), redirect_stderr(errors):
        code = cli.main(words)
    return CompletedProcess(words, code, out.getvalue(), errors.getvalue())
