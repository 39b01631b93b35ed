"""New passwords: asked for on the terminal, read from a pipe, or made here."""

import sys
import warnings
from getpass import GetPassWarning, getpass

import typer

from sbcauth.exceptions import UserInfoError
from sbcauth.users.shown import generated_password

_SHORTEST = 8


def new_password(username: str, from_stdin: bool, generate: bool) -> str:
    """Return a new password; it is never taken from the command line, where others see it."""
    if generate and from_stdin:
        raise typer.BadParameter("--generate and --password-stdin exclude each other")
    if generate:
        return generated_password()
    try:
        password = _read_password() if from_stdin else _ask_password()
    except UnicodeDecodeError:
        raise UserInfoError("the password is not UTF-8") from None
    if not password:
        raise UserInfoError("the password is empty")
    if len(password) < _SHORTEST or password == username or password.isdigit():
        print(
            "warning: scanners guess user names, digits and short passwords first; "
            "--generate makes a strong one",
            file=sys.stderr,
        )
    return password


def _read_password() -> str:
    line = sys.stdin.buffer.readline() if sys.stdin else b""
    return line.decode().rstrip("\r\n")


def _ask_password() -> str:
    """Ask for the password, on the terminal alone, until it is the same twice."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # else it would be seen while it is typed
        try:
            while (password := getpass("Password: ")) != getpass("The same again: "):
                print("the two differ", file=sys.stderr)
        except GetPassWarning:
            raise UserInfoError(
                "there is no terminal to ask for the password on; --password-stdin reads it"
            ) from None
    return password


def print_generated(password: str, generated: bool) -> None:
    """Print a password that was made here, once it is in force: nobody knows it yet."""
    if generated:
        print(f"password: {password}")
