"""What stands before every request: nobody gets in without a session, a role and, to act, a page of ours."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from linewatch.contracts.access import Role
from linewatch.hmi.access.guard import HEADERS, MOST_BODY_BYTES, Access, Guard
from linewatch.hmi.access.login import TRIES_AT_ONCE, Login
from linewatch.hmi.access.people import People
from linewatch.hmi.access.sessions import Sessions
from linewatch.hmi.settings import HmiSettings

PASSWORD = "nine rolls of steel"
ORIGIN = {"origin": "http://127.0.0.1"}


@pytest.fixture(scope="module")
def hmi(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    people = People(tmp_path_factory.mktemp("people") / "people.json")
    for role in (Role.OBSERVER, Role.OPERATOR):
        people.set(role.value, role, PASSWORD)
    return SimpleNamespace(
        people=people, sessions=Sessions(60.0), settings=HmiSettings(), zone=HmiSettings().time_zone, classes=()
    )


@pytest.fixture
def client(hmi: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr("linewatch.hmi.layout.common", lambda *_: _COMMON)
    access = Access(hmi)  # type: ignore[arg-type]

    async def look(asked):
        return {"person": asked.person, "role": asked.role}

    async def act(asked):
        return {"did": dict(asked.body), "by": asked.person}

    routes = [
        *Login(hmi, access).routes,  # type: ignore[arg-type]
        Route("/look", access.endpoint(look, Role.OBSERVER)),
        Route("/act", access.endpoint(act, Role.OPERATOR, acts=True), methods=["POST"]),
    ]
    app = Guard(Starlette(routes=routes), secure=False)
    return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)


_COMMON = {"language": "en", "languages": {}, "line_name": "", "classes": (), "zone": "UTC", "zone_offset": "+00:00"}


def log_in(client: TestClient, hmi: SimpleNamespace, name: str) -> str:
    """Return the CSRF token of the new session."""
    answer = client.post("/login", data={"name": name, "password": PASSWORD}, headers=ORIGIN)
    assert answer.status_code == 303
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    session = hmi.sessions.find(client.cookies["linewatch"])
    assert session is not None
    return session.csrf


def test_nobody_looks_without_a_session(client: TestClient) -> None:
    for cookie in ("", "x", "0" * 43, "' OR 1=1", "a" * 5000):
        answer = client.get("/look", headers={"cookie": f"linewatch={cookie}"})
        assert answer.status_code == 401
        assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    asked_by_browser = client.get("/look", headers={"accept": "text/html"})
    assert asked_by_browser.status_code == 303
    assert asked_by_browser.headers["location"] == "/login?next=/look"


def test_an_action_needs_role_token_and_origin(client: TestClient, hmi: SimpleNamespace) -> None:
    csrf = log_in(client, hmi, "observer")
    assert client.get("/look").json() == {"person": "observer", "role": "observer"}
    assert client.post("/act", json={}, headers={**ORIGIN, "x-csrf-token": csrf}).status_code == 403
    client.post("/logout", headers=ORIGIN)
    assert client.get("/look").status_code == 401

    csrf = log_in(client, hmi, "operator")
    assert client.post("/act", json={"a": 1}, headers={**ORIGIN, "x-csrf-token": csrf}).json() == {
        "did": {"a": 1},
        "by": "operator",
    }
    token = {"x-csrf-token": csrf}
    refused = {
        "without a token": ORIGIN,
        "another token": {**ORIGIN, "x-csrf-token": "x" * 43},
        "without an origin": token,
        "another site": {**token, "origin": "http://evil.example"},
        "another port": {**token, "origin": "http://127.0.0.1:1"},
        "a site that the browser knows for another": {**token, **ORIGIN, "sec-fetch-site": "cross-site"},
    }
    for why, headers in refused.items():
        assert client.post("/act", json={}, headers=headers).status_code == 403, why
    assert client.post("/logout", headers={"origin": "http://evil.example"}).status_code == 403
    both = {**ORIGIN, **token}
    for body, status in ((b"[1]", 400), (b"{", 400), (b"[" * 5000, 400), (b"x" * (MOST_BODY_BYTES + 1), 413)):
        assert client.post("/act", content=body, headers=both).status_code == status
    hmi.people.set("operator", Role.OBSERVER, PASSWORD)
    assert client.post("/act", json={}, headers=both).status_code == 401, "a role that was taken is gone at once"


def test_passwords_cannot_be_tried_for_long(client: TestClient, hmi: SimpleNamespace) -> None:
    def tried(name: str, password: str) -> int:
        return client.post("/login", data={"name": name, "password": password}, headers=ORIGIN).status_code

    assert {tried("observer", "wrong" * 3) for _ in range(TRIES_AT_ONCE)} == {403}
    assert tried("observer", PASSWORD) == 429, "the right one as well, from this address"


def test_a_password_that_is_changed_or_taken_away_ends_its_sessions(client: TestClient, hmi: SimpleNamespace) -> None:
    log_in(client, hmi, "observer")
    assert client.get("/login").status_code == 303, "who is logged in need not log in"
    hmi.people.set("observer", Role.OBSERVER, PASSWORD)
    assert client.get("/look").status_code == 401
    log_in(client, hmi, "observer")
    hmi.people.remove("observer")
    assert client.get("/look").status_code == 401
    assert client.get("/login").status_code == 200, "somebody else can log in at this panel"
    hmi.people.set("observer", Role.OBSERVER, PASSWORD)
    assert client.get("/look").status_code == 401


@pytest.mark.parametrize(
    ("to", "at"), [("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil", "/"), ("/look?a=1", "/look?a=1")]
)
def test_one_stays_inside_after_logging_in(client: TestClient, to: str, at: str) -> None:
    answer = client.post("/login", data={"name": "observer", "password": PASSWORD, "next": to}, headers=ORIGIN)
    assert answer.headers["location"] == at


def test_without_passwords_this_host_looks_and_nobody_acts(tmp_path: Path) -> None:
    hmi = SimpleNamespace(people=People(tmp_path / "none"), sessions=Sessions(60.0), settings=HmiSettings())
    access = Access(hmi)  # type: ignore[arg-type]

    async def look(asked):
        return {"role": asked.role}

    routes = [
        Route("/look", access.endpoint(look, Role.OBSERVER)),
        Route("/act", access.endpoint(look, Role.OPERATOR, acts=True), methods=["POST"]),
    ]
    client = TestClient(Starlette(routes=routes), base_url="http://127.0.0.1")
    assert client.get("/look").json() == {"role": "observer"}
    assert client.post("/act", json={}, headers=ORIGIN).status_code == 403
    for host in ("127.0.0.2:8088", "[::1]:8088", "localhost"):
        assert client.get("/look", headers={"host": host}).status_code == 200
    for host in ("rebound.example", "127.rebound.example", "127.0.0.1.rebound.example", "[", ""):
        assert client.get("/look", headers={"host": host}).status_code == 400, host
    tls = {"certificate_file": Path("c.pem"), "key_file": Path("k.pem")}
    open_to_all = HmiSettings.model_validate({"listen": {"address": "0.0.0.0"}, "tls": tls})
    hmi.settings = open_to_all  # the last person was removed while it runs
    assert client.get("/look").status_code == 400
