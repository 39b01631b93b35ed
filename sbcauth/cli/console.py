"""`sbcauth console`: the web page; and `sbcauth console-user`, who may log in there."""

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.options import AsJSON, Socket
from sbcauth.cli.output import print_json, print_table
from sbcauth.cli.passwords import new_password, print_generated
from sbcauth.cli.user_options import Generate, PasswordStdin
from sbcauth.config.load import load
from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring.channels import Stdout, channel
from sbcauth.monitoring.log_line import Record

if TYPE_CHECKING:
    from sbcauth.console.accounts import Accounts, Role

accounts = typer.Typer(
    cls=WithWholeSentences, help="Manage who may log in to the console.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The name of the account.")]
RoleOption = Annotated[
    str, typer.Option("--role", help="What it may do: `look`, or `change` things as well.")
]


class NotInstalled(SbcAuthError):
    """The packages of the console are not installed."""


def have_packages() -> None:
    """Raise NotInstalled where the extra `console` is not installed: the rest works without."""
    for package in ("argon2", "jinja2", "starlette", "uvicorn"):
        if find_spec(package) is None:
            raise NotInstalled(f"the console needs {package}: pip install 'sbcauth[console]'")


def role_named(name: str) -> "Role":
    """Return the role of this name; the packages of the console must be there."""
    from sbcauth.console.accounts import Role

    if name not in {*Role}:
        raise typer.BadParameter(f"{name!a} is none: look, change", param_hint="--role")
    return Role(name)


def console(
    context: typer.Context,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen.")
    ] = "127.0.0.1:8060",
    certificate: Annotated[
        Path | None, typer.Option(help="A certificate (PEM): elsewhere than on loopback.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The key of the certificate (PEM).")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A host name that it is reached by; may be repeated."),
    ] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-proxy",
            help="A web server on this machine ends TLS, and says in X-Forwarded-For where requests"
            " come from.",
        ),
    ] = False,
    socket: Socket = None,
) -> None:
    """Serve the web page in the foreground; SIGTERM stops it.

    Example: sbcauth console --listen 127.0.0.1:8060
    """
    have_packages()
    from sbcauth.console.app import application
    from sbcauth.console.console import Console
    from sbcauth.console.server import listen_at, serve

    at = listen_at(listen, certificate, key, behind_proxy=behind_proxy)
    output = channel("auto", os.environ, Stdout(1), foreground=True)

    def log(entry: Record) -> None:
        output.write(entry)

    file: Path = context.obj.resolve()
    found = Console(file, os.environ, time.time, log, socket, tls=at.has_tls)
    if not found.accounts.all():
        print("nobody can log in so far: sbcauth console-user add NAME", flush=True)
    print(f"the console is at {at.url}", flush=True)
    serve(application(found, name or ()), at)


@accounts.command()
def add(
    context: typer.Context,
    name: Name,
    role: RoleOption = "look",
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Add an account; the password is asked for twice.

    Example: sbcauth console-user add alice --role change
    """
    table, may = _accounts(context), role_named(role)
    password = new_password(name, password_stdin, generate)
    table.add(name, may, password)
    print_generated(password, generate)
    print(f"added {name}, who may {role}")


@accounts.command("list")
def list_(context: typer.Context, as_json: AsJSON = False) -> None:
    """List the accounts.

    Example: sbcauth console-user list
    """
    found = _accounts(context).all().values()
    if as_json:
        print_json([{"name": each.name, "role": str(each.role)} for each in found])
    else:
        print_table(("Name", "Role"), [(each.name, str(each.role)) for each in found])


@accounts.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove an account; its sessions end.

    Example: sbcauth console-user remove alice
    """
    _accounts(context).remove(name)
    print(f"removed {name}")


@accounts.command("password")
def password_(
    context: typer.Context,
    name: Name,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
) -> None:
    """Replace the password of an account; its sessions end.

    Example: sbcauth console-user password alice
    """
    table = _accounts(context)
    password = new_password(name, password_stdin, generate)
    table.set_password(name, password)
    print_generated(password, generate)
    print(f"changed the password of {name}")


def _accounts(context: typer.Context) -> "Accounts":
    have_packages()
    from sbcauth.console.accounts import Accounts, accounts_file

    return Accounts(accounts_file(load(context.obj, os.environ)))
