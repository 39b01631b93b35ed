"""`sbcauth init`: what it writes can be used as it is, and nothing is written over."""

import subprocess
import sys
from pathlib import Path

import pytest

from sbcauth.config.load import load

SBCAUTH = str(Path(sys.executable).with_name("sbcauth"))


def init(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
    done = subprocess.run(
        [SBCAUTH, *before, "init", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_it_writes_what_loads_without_a_warning(tmp_path: Path) -> None:
    code, printed = init(tmp_path, "--realm", "sip.example.org", "--phones", "192.0.2.0/24")
    assert (code, printed) == (
        0,
        "wrote sbcauth.yaml; next: sbcauth user add 1001, and sbcauth run\n",
    )
    config = load(tmp_path / "sbcauth.yaml", {})
    assert not config.warnings
    (phones,) = config.ip_groups
    assert (phones.name, phones.realm) == ("Phones", "sip.example.org")
    text = (tmp_path / "sbcauth.yaml").read_text()
    assert "      - address: 192.0.2.0/24\n" in text
    assert "# A carrier's trunk" in text


def test_it_writes_nothing_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    code, printed = init(tmp_path, before=("--config", "mine.yaml"))
    assert (code, printed) == (1, "mine.yaml is there already, and stays as it is\n")
    assert (tmp_path / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments", [("--realm", "no host"), ("--phones", "the office"), ("--realm", "x\ny: 1")]
)
def test_what_is_no_address_or_name_is_wrong_usage(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert init(tmp_path, *arguments)[0] == 2
    assert not list(tmp_path.iterdir())


def test_database_of_a_service_is_where_it_may_write() -> None:
    file = Path("/etc/sbcauth-test-of-init.yaml")
    try:
        assert init(Path("/"), before=("--config", str(file)))[0] == 0
        assert "\ndatabase: sqlite:////var/lib/sbcauth/users.db\n" in file.read_text()
    finally:
        file.unlink(missing_ok=True)


def test_users_may_be_in_postgresql(tmp_path: Path) -> None:
    url = "postgresql://sbcauth:${file:database.password}@10.0.0.1,10.0.0.2/sbcauth"
    (tmp_path / "database.password").write_text("p@ss\n")
    assert init(tmp_path, "--database", url)[0] == 0
    config = load(tmp_path / "sbcauth.yaml", {})
    assert config.database == url.replace("${file:database.password}", "p%40ss")
    assert config.database_copy == tmp_path / "users-copy.db"
    assert config.ha1_key_file == tmp_path / "sbcauth.seal"


@pytest.mark.parametrize("url", ["mysql://h/d", "postgresql://u:secret@h/d", "sqlite:///a b"])
def test_database_that_cannot_be_one_is_wrong_usage(url: str, tmp_path: Path) -> None:
    code, printed = init(tmp_path, "--database", url)
    assert code == 2
    assert "secret" not in printed
    assert not list(tmp_path.iterdir())
