"""Secrets are taken out of text, whatever form they have, and what is no secret stays."""

import pytest

from linewatch.config.redact import REDACTED, redacted, redacted_tree, without_password

SECRET = "hunter2/x"


@pytest.mark.parametrize(
    "text",
    [
        f"password = {SECRET}",
        f'password = "{SECRET} and more"',
        f"db_passwd: '{SECRET}'",
        f'{{"event": "x", "api_key": "{SECRET}", "level": "info"}}',
        f"Authorization: Basic {SECRET}",
        f'"authorization": "Bearer {SECRET}"',
        f"rtsp://admin:{SECRET}@10.0.0.5/ch1",
        f"postgresql+psycopg://mill:p@{SECRET}@db/history",
        f"http://10.0.0.5/mjpg?u=admin&p={SECRET}",
        f"rtsp://10.0.0.5/user=admin_password={SECRET}_channel=1_stream=0.sdp",
        f"host=db user=mill password={SECRET} dbname=history",
        f'    secret-key = "{SECRET}"',
        f"PGPASSWORD={SECRET} linewatch history",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\ncut",
    ],
)
def test_a_secret_goes_by_its_form(text: str) -> None:
    left = redacted(text)
    assert SECRET not in left
    assert "hunter2" not in left
    assert REDACTED in left
    assert redacted(left) == left


@pytest.mark.parametrize(
    "text",
    [
        'login_file = "/etc/linewatch/camera.login"',
        'server_secret_file = "/etc/linewatch/keys/server.key_secret"',
        'login_variable = "CAMERA"',
        "tcp://127.0.0.1:5570",
        '{"event": "camera_lost", "why": "no route to host: check its power", "level": "warning"}',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_a_known_secret_goes_wherever_it_stands_and_however_it_is_written() -> None:
    known = ["p@ss wörd/1", "abc"]
    text = 'said p@ss wörd/1, p%40ss%20w%C3%B6rd/1, p%40ss%20w%C3%B6rd%2F1, "p@ss w\\u00f6rd/1", '
    text += "cEBzcyB3w7ZyZC8x; abc, abcd"
    left = redacted(text, known)
    assert left == f'said {REDACTED}, {REDACTED}, {REDACTED}, "{REDACTED}", {REDACTED}; {REDACTED}, abcd'


def test_a_tree_keeps_its_shape_and_loses_its_secrets() -> None:
    tree = {
        "source": {"features": {"UserPassword": "x", "Gain": 2}, "url": 'rtsp://a:b "c@h/p'},
        "keys": [{"secret_file": "a"}],
    }
    assert redacted_tree(tree) == {
        "source": {"features": {"UserPassword": REDACTED, "Gain": 2}, "url": f"rtsp://{REDACTED}@h/p"},
        "keys": [{"secret_file": "a"}],
    }


def test_a_database_is_told_with_its_user_and_without_its_password() -> None:
    assert without_password("postgresql+psycopg://mill:x@db/h") == "postgresql+psycopg://mill@db/h"
    assert without_password("postgresql+psycopg://mill@db/h?password=x&sslmode=require") == (
        f"postgresql+psycopg://mill@db/h?password={REDACTED}&sslmode=require"
    )
    assert without_password("sqlite:////var/lib/h.sqlite") == "sqlite:////var/lib/h.sqlite"
