"""What the files around the program say of it: locks."""

import re
import tomllib

import pytest
from repository import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def pins(lock: str) -> dict[str, str]:
    """Return what a lock names, with versions; each must have hashes."""
    text = (REPOSITORY / lock).read_text()
    found = re.findall(
        r"^([a-z0-9-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE
    )
    assert len(found) == text.count("==")
    return dict(found)


def asked_for(*extras: str) -> set[str]:
    """Return the distributions that pyproject.toml asks for, in the form that locks have."""
    words = PROJECT["dependencies"] + [
        word for extra in extras for word in PROJECT["optional-dependencies"][extra]
    ]
    return {re.split(r"[ <>=!~\[;]", word)[0].lower().replace("_", "-") for word in words}


LOCKS = {
    "requirements.lock": ("build",),
    "requirements-dev.lock": ("build", "dev"),
}


@pytest.mark.parametrize(("lock", "extras"), LOCKS.items())
def test_lock_has_what_is_asked_for(lock: str, extras: tuple[str, ...]) -> None:
    assert asked_for(*extras) <= pins(lock).keys(), "make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_what_the_server_runs_with_is_the_same_where_it_is_tested(lock: str) -> None:
    assert pins("requirements.lock").items() <= pins(lock).items(), "make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_registry_and_no_path(lock: str) -> None:
    assert not re.search(r"https?:|file:|--index|--find-links|/", (REPOSITORY / lock).read_text())
