"""The package as pip installs it, away from the repository: it has all that it needs."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import kamailio
import pytest
from kamailio import REPOSITORY, Server
from phone import Phone


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package in it, built as a wheel; what it needs is beside it."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("sbcauth", "kemi"):
        shutil.copytree(REPOSITORY / name, sources / name)
    for file in REPOSITORY.glob("[!.]*.*"):
        if file.is_file():
            shutil.copy(file, sources)
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *options, "-w", folder, sources], check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "lib"
    subprocess.run([*pip, "install", *options, "--target", target, wheel], check=True)
    (target / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return target


@pytest.fixture
def command(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the installed `sbcauth` be the one that tests run."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setattr(kamailio, "SBCAUTH", installed / "bin" / "sbcauth")
    return installed / "bin" / "sbcauth"


def test_package_brings_its_files(installed: Path) -> None:
    package = installed / "sbcauth"
    sample = ("sbcauth.yaml", "sbcauth.schema.json")
    for name in ("kamailio.cfg", "schema.sql", "kemi/sbcauth_kemi.py", *sample):
        assert (package / name).read_bytes() == (REPOSITORY / name).read_bytes()


def test_installed_command_tells_its_version(command: Path) -> None:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sbcauth ")


def test_installed_package_serves(command: Path, installed: Path, tmp_path: Path) -> None:
    config = (installed / "sbcauth" / "sbcauth.yaml").read_text()
    server = Server(tmp_path, config)
    server.add_user("1001", "secret")
    with server:
        maps = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert str(installed / "sbcauth" / "kemi") in maps
        with Phone(server) as phone:
            assert phone.register().status == 200
    assert os.fspath(REPOSITORY / "kemi") not in server.log()
