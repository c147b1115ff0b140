"""Long work in a process of its own: at the lowest priority, one at a time, and ended when it takes too long."""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final

from linewatch.hmi.page import PageError
from linewatch.hmi.texts import N_

_BUSY: Final = asyncio.Semaphore(1)
WAITING_AT_MOST: Final = 4
"""Beyond so many that wait for their turn, a request is refused at once."""
MOST_ANSWER_BYTES: Final = 64 << 20

_waiting = 0


async def run_worker(module: str, *arguments: str, limit_s: float) -> bytes:
    """Return what `python -m module ARGUMENTS` writes to standard output.

    Raises PageError: 503 where too many wait, 504 for one that takes longer than limit_s, 500 with the last line of
    standard error for one that fails.
    """
    global _waiting  # noqa: PLW0603 - of the process, as the semaphore is
    if _waiting >= WAITING_AT_MOST:
        raise PageError(503, N_("This page is busy with the work of others: try again in a moment."))
    _waiting += 1
    try:
        async with _BUSY:
            return await _run(module, arguments, limit_s)
    finally:
        _waiting -= 1


async def _run(module: str, arguments: tuple[str, ...], limit_s: float) -> bytes:
    pipe = asyncio.subprocess.PIPE
    command = ("nice", "-n", "19", sys.executable, "-m", module, *arguments)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    worker = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env={**os.environ, **threads}
    )
    try:
        async with asyncio.timeout(limit_s):
            answer, said = await worker.communicate()
    except TimeoutError as error:
        raise PageError(504, N_("This took longer than {limit} s and was ended."), limit=f"{limit_s:g}") from error
    finally:
        if worker.returncode is None:
            with suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
    if worker.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or [N_("it ended without a word")]
        raise PageError(500, N_("This failed: {why}"), why=lines[-1][:300])
    if len(answer) > MOST_ANSWER_BYTES:
        raise PageError(500, N_("The answer is too large."))
    return answer
