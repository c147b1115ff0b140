"""Parts of the OPC UA bridge by themselves: who may be configured and trusted, filters, states, the queue of news."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from asyncua import ua
from opcua_plant import PASSWORD, ClientCertificate
from pydantic import ValidationError

from linewatch.check.others import check_bridge
from linewatch.check.trials import Trials, TriedSetting
from linewatch.contracts.access import Role
from linewatch.contracts.verdict import CoilState
from linewatch.plant.commands import CommandAnswer, CommandSender, PlantClient
from linewatch.plant.opcua.certificates import MAX_REJECTED, VALID_DAYS, TrustList, own_identity
from linewatch.plant.opcua.cli import opcua_password
from linewatch.plant.opcua.events import EventFilter, EventKind, make_event
from linewatch.plant.opcua.machine import MachineState, machine_state
from linewatch.plant.opcua.settings import OpcuaSettings, OpcuaUser
from linewatch.plant.opcua.users import UserList
from linewatch.plant.opcua.view import MAX_NEWS, AlarmsNow, NewsQueue
from linewatch.plant.settings import CommandSettings
from linewatch.plant.view import BridgeState

HASH = "$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ$AAAA"


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({}, "nobody could connect"),
        ({"user": [{"name": "a", "role": "operator"}]}, "expected either password_hash"),
        ({"user": [{"name": "a", "role": "operator", "password_hash": HASH}] * 2}, "stands here 2 times"),
        ({"user": [{"name": "a", "role": "operator", "certificate_sha256": "12"}]}, "is not a SHA-256 fingerprint"),
        ({"anonymous": True, "listen": {"address": "plant"}}, "is not an IP address"),
        ({"anonymous": True, "listen": {"host": "a b"}}, "is not a host name"),
    ],
)
def test_a_configuration_that_lets_nobody_in_or_names_nothing_is_refused(asked: dict, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        OpcuaSettings.model_validate(asked)


def test_the_first_start_makes_a_certificate_that_later_starts_keep(tmp_path: Path) -> None:
    settings = OpcuaSettings(anonymous=True, pki_dir=tmp_path / "pki", listen={"host": "192.168.1.9"})  # type: ignore[arg-type]
    first = own_identity(settings)
    assert first.application_uri == "urn:192.168.1.9:linewatch:linewatch"
    assert own_identity(settings).certificate == first.certificate
    assert (tmp_path / "pki" / "own" / "private_key.pem").stat().st_mode & 0o077 == 0
    trust = TrustList(settings.pki_dir)
    trust.make_folders()
    client = ClientCertificate.made(tmp_path, "client")
    der = client.certificate.read_bytes()
    assert "not in the trust list" in (trust.why_refused(der) or "")
    (refused,) = trust.rejected()
    trust.trust(refused.certificate)
    assert trust.why_refused(der) is None
    assert trust.rejected() == []
    assert "cannot be read" in (trust.why_refused(der[:-1]) or "")
    (tmp_path / "pki" / "trusted" / "junk.der").write_bytes(b"junk")  # does not spoil the others
    assert trust.why_refused(der) is None
    for number in range(MAX_REJECTED + 5):
        (tmp_path / "pki" / "rejected" / f"{number}.der").write_bytes(b"old")
    trust.why_refused(ClientCertificate.made(tmp_path, "late").certificate.read_bytes())
    assert len(list((tmp_path / "pki" / "rejected").iterdir())) <= MAX_REJECTED


@pytest.mark.parametrize(
    ("from_day", "to_day", "remedy"),
    [
        (-30, -1 / 48, "renew it"),  # ended half an hour ago: refused as well where this clock is an hour ahead
        (1 / 48, 30, "wait until then"),  # begins in half an hour: where this clock is an hour behind
        (-1 / 12, 1 / 12, None),  # two hours to each side: an hour does not matter
    ],
)
def test_a_trusted_certificate_out_of_its_time_is_refused_with_the_remedy(
    tmp_path: Path, from_day: float, to_day: float, remedy: str | None
) -> None:
    client = ClientCertificate.made(tmp_path, "client", from_day, to_day)
    client.trust(tmp_path / "pki")
    why = TrustList(tmp_path / "pki").why_refused(client.certificate.read_bytes())
    if remedy is None:
        assert why is None
    else:
        assert why is not None
        assert "the time here is" in why
        assert f"{remedy}, or correct the clock" in why


def test_the_check_tells_how_long_certificates_are_valid(tmp_path: Path) -> None:
    settings = OpcuaSettings(anonymous=True, pki_dir=tmp_path / "pki")  # type: ignore[arg-type]

    def tried() -> TriedSetting:
        trials = Trials("")
        check_bridge(settings, trials, None)
        return next(row for row in trials.rows if row.setting == "pki_dir")

    assert "the first start makes a certificate" in tried().result
    own_identity(settings)
    ClientCertificate.made(tmp_path, "client").trust(settings.pki_dir)
    row = tried()
    assert row.good
    assert f"valid for {VALID_DAYS - 1} more days; 1 clients are trusted" in row.result
    assert "certificates ends in 29 days" in row.result
    ClientCertificate.made(tmp_path, "old", -30, -1).trust(settings.pki_dir)
    assert "1 of them are refused" in tried().result
    expired = ClientCertificate.made(tmp_path, "server", -30, -1).certificate.read_bytes()
    (settings.pki_dir / "own" / "certificate.der").write_bytes(expired)
    row = tried()
    assert not row.good
    assert "renew it" in row.result


def test_a_user_is_known_by_the_password_and_waits_after_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linewatch.plant.opcua.users.WAIT_AFTER_FAILURE_S", 600.0)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False, readline=lambda: f"{PASSWORD}\n"))
    opcua_password()
    hashed = capsys.readouterr().out.partition('"')[2].partition('"')[0]
    users = UserList([OpcuaUser(name="hmi", role=Role.OPERATOR, password_hash=hashed)], anonymous=False)
    assert users.tokens == (ua.UserNameIdentityToken,)

    def role(name: str, password: str, client: bytes) -> object:
        with users.checking(ua.UserNameIdentityToken(), client):
            user = users.get_user(None, name, password)
        return getattr(user, "linewatch_role", None)

    assert role("hmi", PASSWORD, b"client 1") is Role.OPERATOR
    assert role("hmi", "wrong", b"client 1") is None
    assert role("hmi", PASSWORD, b"client 1") is None  # too soon
    assert role("hmi", PASSWORD, b"client 2") is Role.OPERATOR
    with users.checking(ua.AnonymousIdentityToken(), b"client 3"):
        assert users.get_user(None) is None


def test_the_state_machine_follows_the_service() -> None:
    assert machine_state(BridgeState.RUNNING, CoilState.STARTED) == MachineState("Operational", "ContinuousExecution")
    assert machine_state(BridgeState.RUNNING, None) == MachineState("Operational", "Ready")
    assert {machine_state(state, CoilState.STARTED).state for state in BridgeState} == {
        "Preoperational",
        "Operational",
        "Halted",
        "Error",
    }


def element(operator: ua.FilterOperator, *operands: object) -> ua.ContentFilterElement:
    return ua.ContentFilterElement(FilterOperator=operator, FilterOperands=list(operands))


def field(*path: str) -> ua.SimpleAttributeOperand:
    names = [ua.QualifiedName(name) for name in path]
    return ua.SimpleAttributeOperand(BrowsePath=names, AttributeId=ua.AttributeIds.Value)


def test_a_filter_that_could_loop_or_is_too_large_is_refused_and_fields_are_all_that_an_event_shows() -> None:
    space = SimpleNamespace(get=lambda node: None)
    loop = element(ua.FilterOperator.Not, ua.ElementOperand(Index=0))
    for where, select in (([loop], []), ([], [field("Message")] * 201), ([loop] * 33, []), ([], [field(*"abcdefghi")])):
        with pytest.raises(ValueError, match=r"refers|large|selected"):
            EventFilter(ua.EventFilter(SelectClauses=select, WhereClause=ua.ContentFilter(Elements=where)), space)
    node = ua.NodeId(1, 3)
    event = make_event(EventKind(node, ua.NodeId(2, 3), "line"), "told", 400, {})
    above = element(ua.FilterOperator.GreaterThan, field("Severity"), ua.LiteralOperand(Value=ua.Variant(300)))
    same = element(ua.FilterOperator.OfType, ua.LiteralOperand(Value=ua.Variant(node)))
    for where in ([above], [same]):
        assert EventFilter(ua.EventFilter(WhereClause=ua.ContentFilter(Elements=where)), space).eval(event)
    shown = event.to_event_fields([field("Severity"), field("fields"), field("__class__"), field("a", "b")])
    assert [one.Value for one in shown] == [400, None, None, None]


def test_news_that_nobody_takes_are_bounded_and_counted() -> None:
    woken = []
    news = NewsQueue(lambda: woken.append(1))
    for _ in range(MAX_NEWS + 3):
        news.put(AlarmsNow(()))
    assert (len(news.take()), news.dropped, len(woken)) == (MAX_NEWS, 3, MAX_NEWS + 3)
    assert news.take() == []


def test_a_name_too_long_for_the_wire_keeps_protocol_and_address_and_shows_that_it_is_cut() -> None:
    answers: list[CommandAnswer] = []
    sender = CommandSender(CommandSettings(commands="ipc:///nowhere"), None, lambda: None)
    for user in ("u" * 46, "u" * 47):
        sender.acknowledge(["a"], PlantClient(f"opcua {user} 192.168.7.3", Role.OBSERVER), answers.append)
    sender.stop()
    whole, cut = (answer.why.removeprefix("alarm acknowledge needs the role operator; ") for answer in answers)
    assert whole == f"opcua {'u' * 46} 192.168.7.3 is observer"
    assert cut == f"opcua {'u' * 17}…{'u' * 28} 192.168.7.3 is observer"
