"""The package as pip installs it, away from the repository: it has all that it needs."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import kamailio
import pytest
from kamailio import Server
from phone import Phone
from repository import REPOSITORY


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package in it, built as a wheel; what it needs is beside it."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("sbcauth", "kemi"):
        shutil.copytree(REPOSITORY / name, sources / name)
    for file in REPOSITORY.glob("[!.]*"):
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


def folder_of(path: Path) -> dict[Path, bytes]:
    """Return what is in a folder, but for what Python keeps of what it has read."""
    files = (file for file in path.rglob("*") if file.is_file())
    return {file: file.read_bytes() for file in files if file.suffix not in (".pyc", ".pth")}


@pytest.fixture
def command(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the installed `sbcauth` be the one that tests run."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setattr(kamailio, "SBCAUTH", installed / "bin" / "sbcauth")
    return installed / "bin" / "sbcauth"


_SQL = ("schema.sql", "schema.postgresql.sql")


def test_package_brings_its_files(installed: Path) -> None:
    package = installed / "sbcauth"
    sample = ("sbcauth.yaml", "sbcauth.schema.json")
    for name in (*_SQL, "kamailio.cfg", "kemi/sbcauth_kemi.py", *sample):
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


def test_uninstalled_package_leaves_data_alone_and_nothing_of_itself(
    installed: Path, tmp_path: Path
) -> None:
    environment, data = tmp_path / "venv", tmp_path / "data"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    before = folder_of(environment)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    pip += ["--python", f"{environment}/bin/python"]
    (wheel,) = installed.parent.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)

    data.mkdir()
    shutil.copy(packages / "sbcauth" / "sbcauth.yaml", data)
    add = [f"{environment}/bin/sbcauth", "user", "add", "1001", "--generate"]
    subprocess.run(add, cwd=data, check=True, capture_output=True)
    kept = folder_of(data)
    assert {file.suffix for file in kept} >= {".yaml", ".db", ".seal"}

    subprocess.run([*pip, "uninstall", "--yes", "sbcauth"], check=True)
    assert folder_of(environment) == before
    assert folder_of(data) == kept
