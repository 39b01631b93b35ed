"""`sbcauth init`: a first configuration, to be changed."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import typer

from sbcauth.exceptions import SbcAuthError
from sbcauth.files import create
from sbcauth.installation import starter
from sbcauth.users.database_url import without_password

_HERE = Path("sbcauth.yaml")
_STATE = Path("/var/lib/sbcauth")
"""Where the service may write; its configuration is below /etc."""


class ExistsAlready(SbcAuthError):
    """There is a configuration, which is not written over."""


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise typer.BadParameter(f"{text!a} is no address or prefix") from None


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]+", text):
        raise typer.BadParameter(f"{text!a} is no host name")
    return text


def _database(text: str) -> str:
    if text and not re.fullmatch(r"(sqlite:///|postgres(ql)?://)[!-~]+", text):
        raise typer.BadParameter("is neither sqlite:///PATH nor postgresql://USER@HOST/DATABASE")
    if without_password(text) != text and "${" not in text:
        raise typer.BadParameter("has a password, which the file would show: write ${file:PATH}")
    return text


def _escaped(text: str) -> str:
    """Return a text as re.sub takes it for a replacement."""
    return text.replace("\\", r"\\")


def init(
    context: typer.Context,
    realm: Annotated[
        str,
        typer.Option(callback=_host, help="Your SIP domain: passwords are bound to it."),
    ] = "example.com",
    phones: Annotated[
        str, typer.Option(callback=_network, help="Where the phones are: address or prefix.")
    ] = "127.0.0.0/8",
    database: Annotated[
        str,
        typer.Option(callback=_database, help="Where users are; in SQLite, if nothing is said."),
    ] = "",
) -> None:
    """Write a first configuration with comments, where there is none.

    It is sbcauth.yaml in the current folder, or what --config names.

    Example: sbcauth init --realm sip.example.org --phones 192.0.2.0/24
    """
    file: Path = (context.parent and context.parent.params["config_file"]) or _HERE
    url = database or "sqlite:///sbcauth.db"
    if not database and file.resolve().is_relative_to("/etc"):
        url = f"sqlite:///{_STATE / 'users.db'}"
    text = starter().read_text("utf-8")
    for old, new in (
        (r"(?m)^# yaml-language-server.*\n#\n", ""),
        (r"(?m)^realm: \S+", f"realm: {realm}"),
        (r"(?m)^database: \S+  # .*", f"database: {_escaped(url)}"),
        (r"(?m)^(      - address: )127\.0\.0\.0/8\b.*", rf"\g<1>{phones}"),
    ):
        text = re.sub(old, new, text, count=1)
    try:
        descriptor = create(file, 0o644)
    except FileExistsError:
        raise ExistsAlready(f"{file} is there already, and stays as it is") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(text)
    at = "" if file == _HERE else f" --config {file}"
    print(f"wrote {file}; next: sbcauth{at} user add 1001, and sbcauth{at} run")
