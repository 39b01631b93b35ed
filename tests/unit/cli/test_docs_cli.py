"""docs/cli.md against `--help`: every command, argument and option, and none that is not there."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from repository import REPOSITORY

from sbcauth.cli import _typer
from sbcauth.users.rows import COLUMNS

TEXT = (REPOSITORY / "docs" / "cli.md").read_text("utf-8")
ROOT: Any = typer.main.get_command(_typer)


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each command with its full name."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}")
    if not hasattr(command, "commands") or command.invoke_without_command:
        yield path, command


COMMANDS = dict(commands(ROOT, "sbcauth"))
SECTIONS = {
    part.partition("`")[0]: part.partition("\n## ")[0] for part in TEXT.split("\n### `")[1:]
}


def words(section: str) -> set[str]:
    """Return the arguments and options that a section's table documents."""
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    found = {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}
    return {word for word in found if word.startswith("-") or word.isupper()}


def parameters(command: Any) -> set[str]:
    """Return the arguments and options that a command takes."""
    return {
        option if option.startswith("-") else option.upper()
        for parameter in command.params
        for option in parameter.opts
    }


def first_sentence(text: str) -> str:
    return re.split(r"[.:;](\s|$)", " ".join(text.split()))[0]


def test_every_command_is_documented_and_no_other() -> None:
    assert SECTIONS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_is_documented_and_no_other(name: str) -> None:
    assert words(SECTIONS[name]) == parameters(COMMANDS[name])


def test_options_before_the_command_are_documented() -> None:
    assert words(TEXT.split("\n## ")[0]) == parameters(ROOT)


@pytest.mark.parametrize("name", COMMANDS)
def test_page_says_what_help_says(name: str) -> None:
    help_text: str = COMMANDS[name].help
    assert first_sentence(help_text) == first_sentence(SECTIONS[name].split("\n\n")[1])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_page_give_an_example_of_the_command(name: str) -> None:
    _, _, example = COMMANDS[name].help.partition("Example: ")
    assert re.match(rf"sbcauth (--config \S+ )?{name.removeprefix('sbcauth ')}( |$)", example)
    assert f"\n$ {example}\n" in SECTIONS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_parsed(name: str) -> None:
    """With its options and arguments, without doing anything."""
    for line in re.findall(r"^\$ sbcauth (.*)$", SECTIONS[name], re.MULTILINE):
        arguments = line.partition(" >")[0].split()
        if arguments[0] == "--config":
            arguments = arguments[2:]
        own = arguments[len(name.split()) - 1 :]
        COMMANDS[name].make_context(name, own)


def test_columns_of_an_imported_file_are_documented() -> None:
    section = SECTIONS["sbcauth user import"]
    table = section.split("| column | holds |")[1].split("\n\n")[0]
    documented = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    assert sorted(documented) == sorted([*COLUMNS, "password"])
