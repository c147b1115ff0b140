"""`linewatch keys` as it is typed: what it makes, what it never does, and no traceback for a user's mistake."""

import json
from pathlib import Path

import pytest

from linewatch import cli
from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import read_certificate, read_secret


@pytest.fixture
def keys(tmp_path, capsys):
    """`linewatch keys` on a folder of the test: its exit code, and what it said."""

    def typed(*words: str | Path) -> tuple[int, str]:
        code = cli.main(["keys", *map(str, words), "--dir", str(tmp_path / "keys")])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return typed


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_key_is_its_owners_and_its_role_is_in_the_list(keys, tmp_path):
    folder = tmp_path / "keys"
    assert keys("new", "server")[0] == 0
    assert keys("new", "hmi-3", "--role", "operator") == (
        0,
        f"{folder}/hmi-3.key_secret: for its owner alone\n{folder}/clients/hmi-3.key: allowed as operator\n",
    )
    assert (mode(folder), mode(folder / "clients")) == (0o700, 0o700)
    for name, public in (("server", folder / "server.key"), ("hmi-3", folder / "clients" / "hmi-3.key")):
        assert mode(folder / f"{name}.key_secret") == 0o600
        assert read_secret(folder / f"{name}.key_secret").public == read_certificate(public).public
        assert read_certificate(public).secret is None
    assert read_certificate(folder / "clients" / "hmi-3.key").role == Role.OPERATOR


def test_a_key_has_a_last_day(keys):
    assert keys("new", "ann", "--role", "operator", "--expires", "2199-12-31")[1].endswith(
        "ann.key: allowed as operator until 2199-12-31\n"
    )
    (listed,) = json.loads(keys("list", "--json")[1])
    assert (listed["expires"], listed["fault"]) == ("2199-12-31", None)
    assert "2199-12-31" in keys("list")[1]
    code, said = keys("new", "bob", "--role", "operator", "--expires", "2001-12-31")
    assert (code, "expires 2001-12-31 is over" in said) == (WireError.exit_code, True)
    code, said = keys("new", "bob", "--expires", "2199-12-31")
    assert (code, "only an allowed key expires" in said) == (WireError.exit_code, True)


def test_no_key_is_ever_written_over(keys, tmp_path):
    folder = tmp_path / "keys"
    assert keys("new", "server")[0] == keys("new", "ann", "--role", "observer")[0] == 0
    before = {path: path.read_bytes() for path in folder.rglob("*.key*")}
    for words in (["server"], ["ann"], ["ann", "--role", "engineer"]):
        code, said = keys("new", *words)
        assert (code, "no key is overwritten" in said) == (WireError.exit_code, True)
    (folder / "clients" / "bob.key").write_bytes(before[folder / "clients" / "ann.key"])
    assert keys("new", "bob", "--role", "engineer")[0] == WireError.exit_code
    assert {path: path.read_bytes() for path in before} == before
    assert not (folder / "bob.key_secret").exists()


def test_a_key_made_elsewhere_is_allowed_gets_another_role_and_is_revoked(keys, tmp_path, capsys):
    away = tmp_path / "away"
    assert cli.main(["keys", "new", "ann", "--dir", str(away)]) == 0
    assert keys("allow", away / "ann.key", "--role", "observer", "--json")[1].endswith(
        '{"name": "ann", "role": "observer"}\n'
    )
    assert keys("allow", away / "ann.key", "--role", "engineer")[1] == "ann: allowed as engineer\n"
    listed = json.loads(keys("list", "--json")[1])
    assert [(key["name"], key["role"], key["fault"]) for key in listed] == [("ann", "engineer", None)]
    assert listed[0]["public"] == read_certificate(away / "ann.key").public.decode()
    assert "ann" in keys("list")[1]
    code, said = keys("allow", away / "ann.key", "--role", "operator", "--name", "bea")
    assert (code, "this key is allowed as 'ann' already" in said) == (WireError.exit_code, True)
    assert cli.main(["keys", "new", "other", "--dir", str(away)]) == 0
    capsys.readouterr()
    code, said = keys("allow", away / "other.key", "--role", "operator", "--name", "ann")
    assert (code, "'ann' is another key in" in said) == (WireError.exit_code, True)
    code, said = keys("revoke", "ann")
    assert (code, "ann: not allowed any more" in said, "none is left" in said) == (0, True, True)
    assert json.loads(keys("list", "--json")[1]) == []
    code, said = keys("revoke", "ann")
    assert (code, "no key 'ann'" in said) == (WireError.exit_code, True)


def test_what_cannot_be_is_said_in_a_line(keys, tmp_path):
    assert keys("list") == (
        WireError.exit_code,
        f"linewatch: {tmp_path}/keys/clients cannot be read as a folder of keys: No such file or directory\n",
    )
    keys("new", "server")
    keys("new", "ann", "--role", "observer")
    folder = tmp_path / "keys"
    (tmp_path / "noise.key").write_bytes(b"\xff" * 100)
    (tmp_path / "server.key").write_bytes((folder / "server.key").read_bytes())
    for words, why in [
        (["new", "../ann"], "'../ann' is not a valid name for a key; expected up to 64 letters"),
        (["new", ".hidden"], "is not a valid name for a key"),
        (["new", "x" * 65], "is not a valid name for a key"),
        (["new", "server", "--role", "engineer"], "'server' is the service's own key and has no role"),
        (["allow", tmp_path / "server.key", "--role", "observer"], "give the client's another name: --name NAME"),
        (["allow", tmp_path / "absent.key", "--role", "observer"], "there is no such file"),
        (["allow", tmp_path / "noise.key", "--role", "observer"], "it has no public key"),
        (["allow", folder / "ann.key_secret", "--role", "observer"], "should never leave its owner"),
        (["allow", folder / "server.key", "--role", "observer", "--name", "a/b"], "is not a valid name for a key"),
        (["revoke", "../server"], "no key '../server'"),
    ]:
        code, said = keys(*words)
        assert (code, why in said, said.count("\n")) == (WireError.exit_code, True, 1), said
    code, said = keys("new", "bea", "--role", "boss")
    assert (code, ("observer" in said and "'boss'" in said) or '"boss"' in said) == (2, True)
    assert keys()[0] == 2


def test_a_file_at_fault_is_listed_with_its_fault(keys, tmp_path):
    keys("new", "ann", "--role", "observer")
    clients = tmp_path / "keys" / "clients"
    (clients / "copy.key").write_bytes((clients / "ann.key").read_bytes())
    (clients / "noise.key").write_text("[red]no certificate[/red]")
    code, said = keys("list", "--json")
    assert code == WireError.exit_code
    faults = {key["name"]: key["fault"] for key in json.loads(said)}
    assert "several names: ann, copy" in faults["ann"]
    assert "no public key" in faults["noise"]
    assert keys("list")[0] == WireError.exit_code


@pytest.mark.slow
def test_check_tells_of_keys_that_cannot_be_used(keys, tmp_path, capsys, monkeypatch):
    keys("new", "server")
    keys("new", "ann", "--role", "observer")
    config = tmp_path / "service.toml"
    config.write_text(
        '[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n[wire.keys]\n'
        f'server_secret_file = "{tmp_path}/keys/server.key_secret"\n'
        f'clients_dir = "{tmp_path}/keys/clients"\n'
    )
    monkeypatch.chdir(Path(__file__).parents[2])
    assert cli.main(["check", str(config)]) == 0
    (tmp_path / "keys" / "server.key_secret").chmod(0o664)
    assert cli.main(["check", str(config)]) == 3
    assert "mode 0664" in capsys.readouterr().out
