"""The allow-list follows its folder, and a faulty file excludes no key but its own."""

import os
import time
from datetime import UTC, date, datetime

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from waiting import wait_until

from linewatch.contracts.access import Caller, Role
from linewatch.wire.access import allow_list
from linewatch.wire.access.allow_list import AllowList, read_allow_list
from linewatch.wire.access.certificates import Certificate, write_public


def key(folder, name, role=None, public=None):
    """Put a key into the list under that name; return the public key."""
    public = public or zmq.curve_keypair()[0]
    write_public(folder / f"{name}.key", Certificate(public, None, role), replace=True)
    return public


@pytest.mark.parametrize("least", list(Role))
def test_a_role_may_do_what_those_before_it_may(least):
    ascending = [Role.OBSERVER, Role.OPERATOR, Role.ENGINEER]
    for role in Role:
        assert Caller("ann", role).may(least) == (ascending.index(role) >= ascending.index(least))
    assert not Caller("nobody", None).may(least)


def test_who_is_allowed_and_as_what(tmp_path):
    known = {role: key(tmp_path, role, role) for role in Role}
    bare = key(tmp_path, "bare")
    allowed = AllowList(tmp_path)
    assert {role: allowed.find(public) for role, public in known.items()} == {r: Caller(r, r) for r in Role}
    assert allowed.find(bare) == Caller("bare", Role.OBSERVER), "without a role: the least"
    assert allowed.find(zmq.curve_keypair()[0]) is None
    assert allowed.find(b"") is None


def test_a_file_at_fault_lets_nobody_in_and_keeps_nobody_out(tmp_path):
    good = key(tmp_path, "good", Role.OPERATOR)
    boss = key(tmp_path, "boss", "boss")
    twice = key(tmp_path, "one", Role.OBSERVER)
    key(tmp_path, "two", Role.ENGINEER, twice)
    odd = key(tmp_path, "a b", Role.ENGINEER)
    (tmp_path / "noise.key").write_bytes(bytes(range(256)))
    (tmp_path / "folder.key").mkdir()
    (tmp_path / "notes.txt").write_text("not a certificate, and not meant to be one")
    allowed = AllowList(tmp_path)
    with capture_logs() as logs:
        assert allowed.find(good) == Caller("good", Role.OPERATOR)
        assert [allowed.find(public) for public in (boss, twice, odd)] == [None] * 3
    told = {event["name"]: event["fault"] for event in logs if event["event"] == "key_not_allowed"}
    assert told.keys() == {"boss", "one", "two", "a b", "noise", "folder"}, "each once"
    assert "role 'boss'; expected observer, operator, engineer" in told["boss"]
    assert "under several names: one, two; keep one" in told["one"]
    assert [event["allowed"] for event in logs if event["event"] == "allow_list_read"] == [{"good": Role.OPERATOR}]
    assert {entry.name for entry in read_allow_list(tmp_path) if entry.fault} == told.keys()


def test_without_a_folder_nobody_is_allowed_until_it_is_there(tmp_path):
    allowed, folder = AllowList(tmp_path / "clients"), tmp_path / "clients"
    public = zmq.curve_keypair()[0]
    assert allowed.find(public) is None
    folder.mkdir()
    key(folder, "ann", Role.OPERATOR, public)
    assert allowed.find(public) == Caller("ann", Role.OPERATOR)


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from(list(Role))),
        max_size=40,
    )
)
def test_every_look_sees_the_folder_as_it_is_then(tmp_path_factory, steps):
    """However fast the folder changes. All roles have eight letters, so no file differs in name or size."""
    folder = tmp_path_factory.mktemp("clients")
    publics = [zmq.curve_keypair()[0] for _ in range(3)]
    allowed, expected = AllowList(folder), {}
    for who, removed, role in steps:
        if removed:
            (folder / f"k{who}.key").unlink(missing_ok=True)
            expected.pop(who, None)
        else:
            key(folder, f"k{who}", role, publics[who])
            expected[who] = role
        for n, public in enumerate(publics):
            assert allowed.find(public) == (Caller(f"k{n}", expected[n]) if n in expected else None)


def age(folder, by_s):
    """Date the folder's last change back, as if nothing had changed there for so long."""
    then_ns = time.time_ns() - int(by_s * 1e9)
    os.utime(folder, ns=(then_ns, then_ns))


def test_what_went_a_while_ago_is_gone_at_the_next_look(tmp_path):
    public = key(tmp_path, "ann", Role.OPERATOR)
    allowed = AllowList(tmp_path)
    age(tmp_path, 2.0)
    for _ in range(3):
        assert allowed.find(public) == Caller("ann", Role.OPERATOR)
    (tmp_path / "ann.key").unlink()
    age(tmp_path, 1.0)
    assert allowed.find(public) is None


def test_a_file_that_is_edited_in_place_counts_soon(tmp_path):
    public = key(tmp_path, "ann", Role.OBSERVER)
    allowed = AllowList(tmp_path)
    age(tmp_path, 1.0)
    assert allowed.find(public) == Caller("ann", Role.OBSERVER)
    text = (tmp_path / "ann.key").read_text()
    with (tmp_path / "ann.key").open("r+") as file:
        file.write(text.replace("observer", "operator"))
    wait_until(lambda: allowed.find(public) == Caller("ann", Role.OPERATOR), within_s=60)


def test_a_key_may_connect_until_its_last_day_is_over(tmp_path, monkeypatch):
    public, other = key(tmp_path, "ann", Role.OPERATOR), key(tmp_path, "bob", Role.OBSERVER)
    write_public(tmp_path / "ann.key", Certificate(public, None, Role.OPERATOR, "2027-03-31"), replace=True)
    (entry, _) = read_allow_list(tmp_path)
    assert (entry.expires, entry.fault) == (date(2027, 3, 31), None)
    age(tmp_path, 100.0)
    now_s, steady = [datetime(2027, 3, 31, 23, 59, 59, tzinfo=UTC).timestamp()], [0.0]
    monkeypatch.setattr(allow_list.time, "time", lambda: now_s[0])
    monkeypatch.setattr(allow_list.time, "monotonic", lambda: steady[0])
    allowed = AllowList(tmp_path)
    with capture_logs() as logs:
        assert allowed.find(public) == Caller("ann", Role.OPERATOR)
        now_s[0] += 2
        for at_s in (1.1, 2.2):
            steady[0] = at_s
            assert allowed.find(public) is None
    assert allowed.find(other) == Caller("bob", Role.OBSERVER)
    assert [event["name"] for event in logs if event["event"] == "key_expired"] == ["ann"]


def test_a_last_day_that_is_no_date_lets_nobody_in(tmp_path):
    write_public(tmp_path / "ann.key", Certificate(zmq.curve_keypair()[0], None, Role.OPERATOR, "soon"))
    (entry,) = read_allow_list(tmp_path)
    assert entry.fault.endswith("expires 'soon'; expected a date, such as 2027-12-31")
