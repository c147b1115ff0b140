"""People who act on the page of a real service: the web application in this process, a session for each of them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

from bright_strip import write_running_strip
from hmi_process import PASSWORD, PEOPLE
from starlette.testclient import TestClient

from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock
from linewatch.config.history import HistorySettings
from linewatch.daemon.service import open_service
from linewatch.hmi.access.people import People
from linewatch.hmi.access.sessions import Sessions
from linewatch.hmi.app import web_application
from linewatch.hmi.commands import PersonCommands
from linewatch.hmi.hmi import Hmi
from linewatch.hmi.records import Records
from linewatch.hmi.settings import HmiSettings
from linewatch.plant.settings import CommandSettings
from linewatch.service_settings import load_settings

HOST = "http://127.0.0.1"
PATIENCE_S = 120.0


class Acting:
    """One person with a session. `act` and `ask` return the status and the JSON of the answer."""

    def __init__(self, app: Any, hmi: Hmi, name: str) -> None:
        self.client = TestClient(app, base_url=HOST, follow_redirects=False)
        answer = self.client.post("/login", data={"name": name, "password": PASSWORD}, headers={"origin": HOST})
        assert answer.status_code == 303
        session = hmi.sessions.find(self.client.cookies["linewatch"])
        assert session is not None
        self._headers = {"origin": HOST, "x-csrf-token": session.csrf}

    def act(self, path: str, **body: Any) -> tuple[int, Any]:
        answer = self.client.post(path, json=body, headers=self._headers)
        return answer.status_code, answer.json()

    def ask(self, path: str, **query: Any) -> tuple[int, Any]:
        answer = self.client.get(path, params=query)
        return answer.status_code, answer.json()


@contextmanager
def acting_people(
    folder: Path, names: Iterable[str], commands: str | None, database: str | None = None
) -> Iterator[list[Acting]]:
    """Yield these of the PEOPLE. commands: where the page sends them. database: what it reads."""
    people = People(folder / "people.json")
    for name in names:
        people.set(name, PEOPLE[name], PASSWORD)
    settings = HmiSettings(time_zone="Europe/Berlin")
    sender = PersonCommands(CommandSettings(commands=commands) if commands else None, None)
    records = Records(HistorySettings.model_construct(database=database, images=None) if database else None)
    parts: Any = (None, None, SimpleNamespace(cameras=()), records, sender)
    hmi = Hmi(settings, *parts, people, Sessions(3600.0), ())
    app, login = web_application(hmi)
    try:
        yield [Acting(app, hmi, name) for name in names]
    finally:
        for part in (login, records, sender):
            part.close()


@contextmanager
def acted_on_service(folder: Path) -> Iterator[SimpleNamespace]:
    """Run a live service, whose rules `square`, `latched` and `many` alarm; yield its endpoints."""
    settings, ready, found = load_settings(write_running_strip(folder)), Event(), SimpleNamespace()
    found.publish, found.serve, found.commands = (f"ipc://{folder}/{name}" for name in ("pub", "rep", "cmd"))
    found.audit = folder / "journal" / "audit"

    def run() -> None:
        clock = MonotonicClock()
        assert settings.source is not None
        with (
            open_camera(settings.source, settings.line, clock, live=True) as camera,
            open_service(settings, camera, clock) as found.service,
        ):
            found.service.run(ready.set)

    thread = Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield found
    finally:
        found.service.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
