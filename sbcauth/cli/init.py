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


def init(
    context: typer.Context,
    realm: Annotated[
        str,
        typer.Option(callback=_host, help="Your SIP domain: passwords are bound to it."),
    ] = "example.com",
    phones: Annotated[
        str, typer.Option(callback=_network, help="Where the phones are: address or prefix.")
    ] = "127.0.0.0/8",
) -> None:
    """Write a first configuration with comments, where there is none.

    It is sbcauth.yaml in the current folder, or what --config names.

    Example: sbcauth init --realm sip.example.org --phones 192.0.2.0/24
    """
    file: Path = (context.parent and context.parent.params["config_file"]) or _HERE
    database = "sqlite:///sbcauth.db"
    if file.resolve().is_relative_to("/etc"):
        database = f"sqlite:///{_STATE / 'users.db'}"
    text = starter().read_text("utf-8")
    for old, new in (
        (r"(?m)^# yaml-language-server.*\n#\n", ""),
        (r"(?m)^realm: \S+", f"realm: {realm}"),
        (r"(?m)^database: \S+  # .*", f"database: {database}"),
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
