"""Who may import whom: the rooms of the house, and the direction of the arrows between them."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]

CORE = {
    "exceptions": set(),
    "request": set(),
    "decision": set(),
    "shared_state": set(),
    "nonces": set(),
    "credentials": {"exceptions"},
    "digest": {"credentials", "request"},
    "nonce_counts": {"exceptions", "nonces", "shared_state"},
    "attempts": {"exceptions", "request", "shared_state"},
    "ip_groups": {"attempts", "digest", "request"},
    "classification": {"ip_groups", "request"},
    "challenges": {"credentials", "digest", "exceptions", "ip_groups", "nonces", "request"},
    "logline": {"decision", "request"},
    "radius": {"credentials", "digest", "exceptions", "request"},
}
"""The pure rooms, and the other rooms that each may import; of packages, none."""

DECIDING = {
    *("attempts", "challenges", "credentials", "decision", "digest", "exceptions", "ip_groups"),
    *("nonce_counts", "nonces", "request", "shared_state", "users", "radius", "client"),
    *("accounts", "classification", "fast_path"),
}
"""What `server` may import."""

STORING = {"database", "digest", "exceptions", "migrations", "installation", "sealing"}
"""What `users` may import."""

PACKAGES = {
    "cryptography": {"sealing"},
    "peewee": {"database", "user_admin", "users"},
    "pydantic": {"config", "settings", "yaml_values"},
    "pyrad": {"radius_packets"},
    "rich": {"cli"},
    "typer": {"cli"},
    "yaml": {"cli", "config", "yaml_source"},
}
"""The packages from outside, and the rooms that may import them."""

WAITING = {"asyncio", "datetime", "select", "socket", "sqlite3", "subprocess", "threading", "time"}
"""Standard modules that wait, or know the time."""


def room(path: Path) -> str:
    """Return the room that a file belongs to: all of cli/ is one."""
    first = path.relative_to(HOME / "sbcauth").parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports when it runs."""
    pending: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        pending += ast.iter_child_nodes(node)
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


FILES = sorted((HOME / "sbcauth").rglob("*.py"))
KEMI = sorted((HOME / "kemi").glob("*.py"))
ROOMS = {room(path) for path in FILES}
EXTERNAL = {path: {name.split(".")[0] for name in imports(path)} for path in FILES}


def rooms_imported_by(path: Path) -> set[str]:
    """Return the rooms of the package that a file imports."""
    found = (name.split(".")[1] for name in imports(path) if name.startswith("sbcauth."))
    return {name for name in found if name in ROOMS}


@pytest.mark.parametrize("name", CORE)
def test_core_room_imports_only_what_it_may(name: str) -> None:
    path = HOME / "sbcauth" / f"{name}.py"
    assert rooms_imported_by(path) <= CORE[name]
    assert EXTERNAL[path] <= sys.stdlib_module_names | {"sbcauth"}
    assert not EXTERNAL[path] & WAITING


def test_server_decides_without_waiting_and_users_know_no_sip() -> None:
    server, users = HOME / "sbcauth" / "server.py", HOME / "sbcauth" / "users.py"
    assert rooms_imported_by(server) <= DECIDING
    assert not EXTERNAL[server] & WAITING
    assert rooms_imported_by(users) <= STORING


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_package_from_outside_stays_in_its_room(path: Path) -> None:
    for package in EXTERNAL[path] - sys.stdlib_module_names - {"sbcauth"}:
        assert room(path) in PACKAGES[package], package


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_only_the_command_line_asks_the_clock_or_the_environment(path: Path) -> None:
    if room(path) != "cli":
        assert not names(path) & {"os.environ", "os.getenv", "time.time", "datetime.now"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_nobody_in_the_house_knows_the_street(path: Path) -> None:
    assert not EXTERNAL[path] & {"KSR", *(file.stem for file in KEMI)}


def test_command_line_is_imported_by_nobody_else() -> None:
    for path in FILES:
        if room(path) != "cli":
            assert "cli" not in rooms_imported_by(path), path
    for path in KEMI:
        assert "cli" not in rooms_imported_by(path), path


def test_arrows_make_no_circle() -> None:
    arrows: dict[str, set[str]] = {name: set() for name in ROOMS}
    for path in FILES:
        arrows[room(path)] |= rooms_imported_by(path) - {room(path)}
    TopologicalSorter(arrows).prepare()


def test_door_imports_nothing_but_the_house() -> None:
    own = {path.stem for path in KEMI}
    for path in KEMI:
        found = {name.split(".")[0] for name in imports(path)}
        assert found <= sys.stdlib_module_names | own | {"KSR", "sbcauth"}, path


def test_files_of_the_door_are_named_like_no_other_module() -> None:
    """Kamailio puts their folder on sys.path."""
    packages = sys.stdlib_module_names | PACKAGES.keys() | {"sbcauth"}
    assert not {path.stem for path in KEMI} & packages
