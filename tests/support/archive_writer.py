"""An archive in a process of its own that ends before its n-th operation on a file or commit, as by a kill -9.

Run as a program: URL FOLDER, and the crops' headers and payloads on standard input; prints the runs that were killed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def at_every_event(url, folder, crops):
    """Runs of the writer that were killed, one before each operation; the archive is opened again after each."""
    ended = subprocess.run(
        [sys.executable, __file__, url, str(folder)],
        input=json.dumps([[c.model_dump_json(), c.png.hex()] for c in crops]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    return json.loads(ended.stdout)


def main(url: str, folder: Path) -> None:
    from linewatch.config.history import ImageSettings
    from linewatch.history.archive import ImageArchive
    from linewatch.history.database import writing
    from linewatch.history.writer import stored_service
    from linewatch.wire.schema import decode

    crops = [decode(b"crop", header.encode(), bytes.fromhex(png)) for header, png in json.load(sys.stdin)]

    def use(kill_before: int) -> None:
        seen = 0

        def count(*_: object) -> None:
            nonlocal seen
            if seen == kill_before:
                os._exit(9)
            seen += 1

        def audit(event: str, arguments: tuple) -> None:
            if event in EVENTS and str(folder) in str(arguments[0]):
                count()

        with writing(url) as engine:
            with engine.begin() as connection:
                stored = stored_service(connection, "svc")
            sys.addaudithook(audit)
            sa.event.listen(engine, "commit", count)
            for days, told in ((1e-9, []), (1.0, crops), (1e-9, [])):  # empty it, fill it, empty it
                bounds = ImageSettings(dir=folder, min_free_mb=16.0, max_per_coil=2, days=days)
                with ImageArchive(bounds, engine) as archive:
                    while archive.tidy():
                        pass
                    for crop in told:
                        archive.store(stored, [crop])

    killed: list[int] = []
    while True:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            use(len(killed))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        assert code == 9, code
        killed.append(code)
    print(json.dumps(killed))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
