"""Text files as Windows programs and other systems write them are taken, or refused with what is wrong."""

import codecs
import grp
import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from linewatch import cli
from linewatch.config.grading_file import load_grading
from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.daemon.coils.folder import coil_files, read_coil_file
from linewatch.daemon.coils.recorded import read_recorded
from linewatch.service_settings import load_settings

CONFIGS = Path(__file__).parents[2] / "configs"


def windows(path: Path, to: Path) -> Path:
    """Write a file as Notepad does: with a byte order mark and CRLF."""
    to.write_bytes(codecs.BOM_UTF8 + path.read_bytes().replace(b"\n", b"\r\n"))
    return to


def test_every_kind_of_toml_is_taken_with_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    for name, read in (
        ("simulator.toml", load_settings),
        ("history.toml", lambda path: load(path, HistorySettings)),
        ("taxonomy.toml", Taxonomy.read),
        ("grading/example.toml", lambda path: load_grading(path, Taxonomy.read(CONFIGS / "taxonomy.toml"))),
    ):
        assert read(windows(CONFIGS / name, tmp_path / Path(name).name.upper())) == read(CONFIGS / name)
    settings = tmp_path / "s.toml"
    settings.write_text(f'taxonomy = "{tmp_path}/TAXONOMY.TOML"\n[decision]\ngrading = "{tmp_path}/EXAMPLE.TOML"\n')
    assert load_settings(settings).identity()


@pytest.mark.parametrize(
    ("name", "text"),
    [("C-1.JSON", '{"coil": "C-1", "product": "tin"}'), ("C-1.Toml", 'coil = "C-1"\nproduct = "tin"\n')],
)
def test_level_2_may_write_capitals_and_a_byte_order_mark(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert coil_files(tmp_path) == [tmp_path / name]
    assert read_coil_file(tmp_path / name).coil == "C-1"
    assert [entry.data.coil for entry in read_recorded(tmp_path).entries] == ["C-1"]
    assert [entry.data.coil for entry in read_recorded(tmp_path / name).entries] == ["C-1"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_refused_by_its_name(encoding: str, tmp_path: Path) -> None:
    for name, read in (("c.toml", load_settings), ("c.json", read_coil_file)):
        (tmp_path / name).write_text(json.dumps({"coil": "C-1"}), encoding=encoding)
        with pytest.raises(ConfigError, match="is UTF-16 or UTF-32, expected UTF-8; save the file again as UTF-8"):
            read(tmp_path / name)


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes('[source]\ntype = "simulator"\ncoil = "Müller"\n'.encode("cp1252"))
    with pytest.raises(ConfigError, match="is not UTF-8: line 3 has the byte 0xfc, expected UTF-8"):
        load_settings(path)


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that everybody may enter, in a test that runs as the user `nobody`, who is in no other group."""
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        before = os.getgroups()
        os.setgroups([])
        os.setegid(65534)
        try:
            yield Path(made)
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)


def test_an_ordinary_user_is_told_whose_the_configuration_is_and_which_group_to_join(nobody, capsys) -> None:
    """As `coils --config` of an inspector who is not in the service's group; in the group, the file is read."""
    for module in ("listing", "queries", "database"):  # what the command imports, since `nobody` may not read it
        importlib.import_module(f"linewatch.history.{module}")
    path = nobody / "history.toml"
    path.write_text((CONFIGS / "history.toml").read_text())
    os.chown(path, 0, 1)
    path.chmod(0o640)
    group = grp.getgrgid(1).gr_name
    os.seteuid(65534)
    assert cli.main(["coils", "--config", str(path)]) == 2
    said = (
        f"linewatch: {path}: cannot be read (Permission denied: {path} is root:{group}, mode 0640, and this is user "
        f"nobody; members of the group {group} may read it: sudo usermod -aG {group} nobody, then log in again)\n"
    )
    assert capsys.readouterr().err == said
    os.seteuid(0)
    os.chown(path, 0, 0)
    os.seteuid(65534)
    assert cli.main(["coils", "--config", str(path)]) == 2
    assert "usermod" not in capsys.readouterr().err, "nobody is told to join root's group"
    os.seteuid(0)
    os.chown(path, 0, 1)
    os.setgroups([1])
    os.seteuid(65534)
    assert load(path, HistorySettings).service


def test_a_hidden_folder_is_named_rather_than_the_file_in_it(nobody) -> None:
    (nobody / "linewatch").mkdir(mode=0o700)
    path = nobody / "linewatch" / "history.toml"
    path.write_text("")
    os.seteuid(65534)
    with pytest.raises(ConfigError, match=f"the folder {nobody}/linewatch is root:nogroup, mode 0700, and"):
        load(path, HistorySettings)
