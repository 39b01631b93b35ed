"""What the files around the program say of it: locks, license, changes, templates, man pages."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from repository import REPOSITORY

from sbcauth import __version__

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
    "requirements.lock": ("build", "console"),
    "requirements-dev.lock": ("build", "console", "dev"),
    "requirements-mutants.lock": ("build", "console", "dev", "mutants"),
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


# License and version


def test_distribution_tells_its_license_and_authors() -> None:
    told = metadata("sbcauth")
    assert (told["License-Expression"], told["Author"]) == ("MIT", "the sbcauth authors")
    assert told.get_all("License-File") == ["LICENSE"]
    assert "the sbcauth authors" in (REPOSITORY / "LICENSE").read_text()


def test_changelog_has_the_version_with_its_date_under_what_is_unreleased() -> None:
    heads = re.findall(r"^## (.*)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", heads[1])


def test_module_is_the_command() -> None:
    command = [sys.executable, "-m", "sbcauth", "-V"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"sbcauth {__version__}\n"


# The forges


def test_templates_ask_the_same_on_each_forge() -> None:
    for name in ("problem", "wish"):
        asked = (REPOSITORY / f".github/ISSUE_TEMPLATE/{name}.md").read_text()
        _, head, body = asked.split("---\n", 2)
        assert f"name: A {name}\n" in head
        assert body.lstrip() == (REPOSITORY / f".gitlab/issue_templates/{name}.md").read_text()
    request = (REPOSITORY / ".github/pull_request_template.md").read_text()
    assert request == (REPOSITORY / ".gitlab/merge_request_templates/default.md").read_text()


@pytest.mark.parametrize("workflow", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_every_forge_runs_the_same_command(workflow: str) -> None:
    assert re.search(r"- (run: )?\.ci/run$", (REPOSITORY / workflow).read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Do this\n\nFor a reason.\n", ""),
        ("x" * 72 + "\n\nFor a reason.\n# a comment\n", ""),
        ("fixup! Do this\n", ""),
        ("x" * 73 + "\n\nFor a reason.\n", "the subject has 73 characters, more than 72"),
        ("Do this\nFor a reason.\n", "the second line is not empty"),
        ("Do this\n\n# only a comment\n", "there is no body that says why"),
        ("# nothing\n", "the first line is empty"),
    ],
)
def test_form_of_a_commit_message_is_checked(message: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "message").write_text(message)
    command = [REPOSITORY / "scripts" / "commit_message.sh", tmp_path / "message"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if said else 0)
    assert done.stderr == (f"commit message: {said} (see CONTRIBUTING.md)\n" if said else "")


def test_containerfile_has_nothing_that_a_linter_objects_to() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    command = [str(linter), "--no-color", str(REPOSITORY / "Containerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


def test_package_depends_on_what_the_server_needs() -> None:
    setup = (REPOSITORY / "scripts" / "setup.sh").read_text()
    needed = re.findall(r'^packages="(.*)"$', setup, re.MULTILINE)
    control = (REPOSITORY / "debian" / "control").read_text()
    depends = re.search(r"^Depends: (.*)$", control, re.MULTILINE)
    assert needed
    assert depends
    inside = {"python3-venv"}  # the virtual environment is made when the package is built
    assert set(needed[0].split()) - inside <= set(depends[1].split(", "))


# The man pages


@pytest.fixture(scope="module")
def man(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the man pages, and return them by name."""
    folder = tmp_path_factory.mktemp("man")
    script = REPOSITORY / "scripts" / "man_pages.py"
    subprocess.run([sys.executable, script, folder], check=True)
    return {path.stem: path for path in folder.iterdir()}


def test_man_pages_are_written_as_man_wants_them(man: dict[str, Path]) -> None:
    lint = ["mandoc", "-T", "lint", "-W", "warning", *map(str, man.values())]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_man_page_has_the_commands_options_and_example(man: dict[str, Path]) -> None:
    show = ["mandoc", "-T", "ascii", "-O", "width=200", str(man["sbcauth-user-add"])]
    done = subprocess.run(show, capture_output=True, text=True, check=True)
    text = re.sub(".\b", "", done.stdout)  # a letter over itself is a bold one
    assert "sbcauth-user-add - add a user" in text
    for word in ("sbcauth user add 1001 --ip-group Phones", "--local-user <str>", "-h, --help"):
        assert word in text
    assert {"sbcauth", "sbcauth-run", "sbcauth-user", "sbcauth-nonce-key-rotate"} <= man.keys()
    for name in re.findall(r"(sbcauth[a-z-]*)\(1\)", text):
        assert name in man
