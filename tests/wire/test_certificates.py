"""Certificates have the format of zmq.auth, and only its owner can read a secret one."""

import os

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st

from linewatch.contracts.access import Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access.certificates import Certificate, read_certificate, read_secret, write_public, write_secret


@pytest.fixture
def pair():
    return Certificate(*zmq.curve_keypair())


def test_what_is_written_is_what_zmq_auth_reads_and_the_other_way_round(tmp_path, pair):
    write_secret(tmp_path / "a.key_secret", pair)
    write_public(tmp_path / "a.key", Certificate(pair.public, pair.secret, Role.OPERATOR))
    assert zmq.auth.load_certificate(tmp_path / "a.key_secret") == (pair.public, pair.secret)
    assert zmq.auth.load_certificate(tmp_path / "a.key") == (pair.public, None)
    assert read_secret(tmp_path / "a.key_secret") == pair
    assert read_certificate(tmp_path / "a.key") == Certificate(pair.public, None, "operator")

    public, secret = zmq.auth.create_certificates(tmp_path, "theirs", {"role": "engineer"})
    os.chmod(secret, 0o600)
    theirs = read_secret(tmp_path / "theirs.key_secret")
    assert (theirs.public, theirs.secret) == zmq.auth.load_certificate(secret)
    assert read_certificate(tmp_path / "theirs.key").public == zmq.auth.load_certificate(public)[0]


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_secret_is_its_owners_alone_and_the_public_half_everybodys_whatever_the_umask(tmp_path, pair, umask):
    before = os.umask(umask)
    try:
        write_secret(tmp_path / "a.key_secret", pair)
        write_public(tmp_path / "a.key", pair)
    finally:
        os.umask(before)
    assert (tmp_path / "a.key_secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o644
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "a.key_secret", Certificate(*zmq.curve_keypair()))
    assert read_secret(tmp_path / "a.key_secret") == pair


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, 1), (0o400, 1), (0o640, 1), (0o604, 0), (0o644, 0), (0o620, 0), (0o602, 0), (0o777, 0)]
)
def test_a_secret_that_others_can_read_or_change_is_refused(tmp_path, pair, mode, good):
    path = tmp_path / "a.key_secret"
    write_secret(path, pair)
    path.chmod(mode)
    if good:
        assert read_secret(path) == pair
        return
    with pytest.raises(WireError, match=rf"mode {mode:04o}: others on this host.*expected 0600.*chmod 600"):
        read_secret(path)


def test_a_public_certificate_is_replaced_on_purpose_only_and_nothing_else_is_left(tmp_path, pair):
    path = tmp_path / "a.key"
    write_public(path, pair)
    other = Certificate(*zmq.curve_keypair())
    with pytest.raises(FileExistsError):
        write_public(path, other)
    assert read_certificate(path).public == pair.public
    write_public(path, other, replace=True)
    assert read_certificate(path).public == other.public
    assert os.listdir(tmp_path) == ["a.key"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no public key"),
        ('# public-key = "{public}"', "no public key"),
        ('public-key = "too-short"', "not 40 characters of Z85"),
        ('public-key = "{public}"\nsecret-key = "short"', "its secret-key is not"),
        ('public-key = "{public}"\npublic-key = "{public}"', "it has a key, role or expiry twice"),
        ('role = "observer"\nrole = "engineer"\npublic-key = "{public}"', "it has a key, role or expiry twice"),
        ('public-key = "{public}"\n' + "#" * 20_000, "more than 16384 bytes"),
    ],
)
def test_what_is_no_certificate_is_refused_with_a_reason(tmp_path, pair, text, why):
    path = tmp_path / "a.key"
    path.write_text(text.replace("{public}", pair.public.decode()))
    with pytest.raises(WireError, match=why):
        read_certificate(path)


def test_a_folder_a_pipe_and_nothing_at_all_are_no_certificates(tmp_path):
    os.mkfifo(tmp_path / "pipe.key")
    for path in (tmp_path, tmp_path / "pipe.key", tmp_path / "absent.key"):
        with pytest.raises(WireError, match="there is no such file"):
            read_certificate(path)


def test_keys_of_two_pairs_are_none(tmp_path, pair):
    write_secret(tmp_path / "a.key_secret", Certificate(zmq.curve_keypair()[0], pair.secret))
    with pytest.raises(WireError, match="its public key is not that of its secret key"):
        read_secret(tmp_path / "a.key_secret")


@given(st.binary(max_size=600), st.booleans())
def test_whatever_is_in_a_file_is_a_certificate_or_a_wire_error(tmp_path_factory, noise, cut):
    public, secret = zmq.curve_keypair()
    good = b'metadata\n    role = "operator"\ncurve\n    public-key = "%b"\n    secret-key = "%b"\n' % (public, secret)
    path = tmp_path_factory.getbasetemp() / "noise.key"
    path.write_bytes(good[: len(noise)] + noise if cut else noise)
    try:
        read = read_certificate(path)
    except WireError:
        return
    assert len(read.public) == 40
