"""Who may import whom: the rooms of the house, and the direction of the arrows between them."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from repository import REPOSITORY

BESIDE = {
    "exceptions",
    "external_process",
    "files",
    "installation",
    "keys",
    "nonce_keys",
    "dialog_keys",
    "service",
    "kamailio_snippet",
}
"""The modules that stand beside the rooms."""

ROOMS = {
    "digest": set(),
    "policy": {"digest"},
    "users": {"policy", "digest"},
    "radius": {"policy", "digest"},
    "http": {"policy", "digest"},
    "cluster": {"users", "policy", "digest"},
    "config": {"cluster", "users", "radius", "http", "policy", "digest"},
    "monitoring": {"config", "cluster", "users", "radius", "http", "policy", "digest"},
    "console": {"monitoring", "config", "cluster", "users", "radius", "http", "policy", "digest"},
    "cli": {
        *("console", "monitoring", "config", "cluster", "users", "radius", "http"),
        *("policy", "digest"),
    },
}
"""The rooms, and the other rooms that each may import."""

NEEDED_BESIDE = {
    "digest": {"exceptions"},
    "policy": {"exceptions"},
    "users": {"exceptions", "files", "installation", "keys"},
    "radius": {"exceptions"},
    "http": {"exceptions"},
    "cluster": {"exceptions"},
    "config": {"exceptions", "files", "keys", "nonce_keys"},
    "monitoring": {"exceptions", "files", "installation", "keys", "nonce_keys", "service"},
    "console": {"exceptions", "files"},
    "cli": BESIDE,
}
"""What each room may import of the modules beside."""

PACKAGES = {
    "anyio": {"console"},
    "argon2": {"console"},
    "cryptography": {"users", "dialog_keys", "monitoring"},
    "httpx": {"http"},
    "jinja2": {"console"},
    "markupsafe": {"console"},
    "peewee": {"users"},
    "psycopg": {"users"},
    "pydantic": {"config", "console"},
    "pyrad": {"radius"},
    "redis": {"cluster"},
    "rich": {"cli"},
    "starlette": {"console"},
    "typer": {"cli"},
    "uvicorn": {"console"},
    "yaml": {"cli", "config", "console"},
}
"""The packages from outside, and the rooms that may import them."""

WAITING = {"asyncio", "datetime", "select", "socket", "sqlite3", "subprocess", "threading", "time"}
"""Standard modules that wait, or know the time."""

HOUSE = REPOSITORY / "sbcauth"
FILES = sorted(HOUSE.rglob("*.py"))
KEMI = sorted((REPOSITORY / "kemi").rglob("*.py"))


def room(path: Path) -> str:
    """Return the room that a file is in, or the module that it is, beside the rooms."""
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def names(path: Path) -> set[str]:
    """Return the dotted names that a file uses, such as `os.environ`."""
    tree = ast.parse(path.read_text("utf-8"))
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def outside(path: Path) -> set[str]:
    """Return the top-level modules and packages that a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def rooms_imported_by(path: Path) -> set[str]:
    """Return the rooms, and the modules beside them, that a file imports."""
    found = {name.split(".")[1] for name in imports(path) if name.startswith("sbcauth.")}
    return found & (ROOMS.keys() | BESIDE)


in_the_house = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))


def test_every_file_is_in_a_room_or_known_to_stand_beside() -> None:
    assert {room(path) for path in FILES} == ROOMS.keys() | BESIDE | {"__init__", "__main__"}


def modules_of(folder: str) -> set[str]:
    """Return the names of the modules in a folder, without what Python asks for itself."""
    return {path.stem for path in (REPOSITORY / folder).glob("*.py")} - {"__init__", "__main__"}


def modules_named() -> dict[str, list[str]]:
    """Return for each folder the modules that docs/design.md names, in its order."""
    design = (REPOSITORY / "docs" / "design.md").read_text("utf-8")
    text = design.partition("\n## Every module\n")[2].partition("\n## ")[0]
    return {
        heading: re.findall(r"`(\w+)`", below)
        for heading, below in re.findall(r"^### `(.*)/`\n((?:(?!^###).*\n?)*)", text, re.MULTILINE)
    }


def test_design_names_every_module_once_and_in_its_folder() -> None:
    folders = {path.parent for path in (*FILES, *KEMI) if path.parent.name != "examples"}
    named = modules_named()
    assert named.keys() == {str(folder.relative_to(REPOSITORY)) for folder in folders}
    for folder, modules in named.items():
        assert sorted(modules) == sorted(modules_of(folder)), folder


@in_the_house
def test_arrows_between_rooms_point_one_way(path: Path) -> None:
    here = room(path)
    if here in ROOMS:
        assert rooms_imported_by(path) - {here} <= ROOMS[here] | NEEDED_BESIDE[here]


def test_arrows_make_no_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        every = {".".join(file.relative_to(HOUSE).with_suffix("").parts) for file in FILES}
        found = {each.removeprefix("sbcauth.") for each in imports(path)}
        arrows[name] = (found & every) - {name}
    TopologicalSorter(arrows).prepare()


@in_the_house
def test_package_from_outside_stays_in_its_room(path: Path) -> None:
    for package in outside(path) - sys.stdlib_module_names - {"sbcauth"}:
        assert room(path) in PACKAGES[package], package


@pytest.mark.parametrize("room", ["digest", "policy"])
def test_deciding_neither_waits_nor_asks_for_the_time(room: str) -> None:
    for path in (HOUSE / room).glob("*.py"):
        assert not outside(path) & WAITING, path


@in_the_house
def test_only_the_command_line_asks_the_clock_or_the_environment(path: Path) -> None:
    if room(path) != "cli":
        assert not names(path) & {"os.environ", "os.getenv", "time.time", "datetime.now"}


@in_the_house
def test_nobody_in_the_house_knows_the_street(path: Path) -> None:
    assert not outside(path) & {"KSR", "sbcauth_door", "sbcauth_kemi"}


def test_policy_loads_no_database_and_no_package() -> None:
    program = """
import importlib, pkgutil, sys
import sbcauth.policy
for module in pkgutil.iter_modules(sbcauth.policy.__path__, "sbcauth.policy."):
    importlib.import_module(module.name)
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not {*done.stdout.split()} & (PACKAGES.keys() | {"sqlite3"})


def test_door_imports_nothing_but_the_house() -> None:
    own = {"KSR", "sbcauth", "sbcauth_door", "sbcauth_kemi"}
    for path in KEMI:
        assert outside(path) <= sys.stdlib_module_names | own, path
        assert "cli" not in rooms_imported_by(path), path


def test_files_of_the_door_are_named_like_no_other_module() -> None:
    """Kamailio puts the folder kemi/ on sys.path."""
    packages = sys.stdlib_module_names | PACKAGES.keys() | {"sbcauth"}
    found = {path.stem for path in (REPOSITORY / "kemi").iterdir() if path.name != "__pycache__"}
    assert not found & packages
