"""The command `sbcauth`: each command calls one function and prints what it returns."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sbcauth import __version__
from sbcauth.cli import config, console_token, lockout, nonce_key, registered, user
from sbcauth.cli.console import accounts, console
from sbcauth.cli.doctor import doctor
from sbcauth.cli.explain import explain
from sbcauth.cli.help import WithWholeSentences
from sbcauth.cli.init import init
from sbcauth.cli.kamailio_snippet import kamailio_snippet
from sbcauth.cli.options import default_config, overlooked_config
from sbcauth.cli.recent import recent
from sbcauth.cli.reload import reload
from sbcauth.cli.run import run
from sbcauth.cli.status import status
from sbcauth.cli.why import why
from sbcauth.exceptions import SbcAuthError

_typer = typer.Typer(
    name="sbcauth",
    cls=WithWholeSentences,
    help="An SBC's authentication server for Kamailio.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
_typer.add_typer(user.commands, name="user")
_typer.add_typer(config.commands, name="config")
_typer.add_typer(lockout.commands, name="lockout")
_typer.add_typer(registered.commands, name="registered")
_typer.add_typer(nonce_key.commands, name="nonce-key")
_typer.add_typer(accounts, name="console-user")
_typer.add_typer(console_token.commands, name="console-token")
_typer.command()(init)
_typer.command()(run)
_typer.command()(reload)
_typer.command()(explain)
_typer.command()(why)
_typer.command()(recent)
_typer.command()(doctor)
_typer.command()(status)
_typer.command()(console)
_typer.command()(kamailio_snippet)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sbcauth {__version__}")
        raise typer.Exit


@_typer.callback()
def main(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="SBCAUTH_CONFIG",
            help="The configuration file: sbcauth.yaml here, else /etc/sbcauth/sbcauth.yaml.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "-V", "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Manage the authentication server: its users, its configuration, the server itself."""
    context.obj = config_file or default_config()
    if config_file is None and (other := overlooked_config(context.obj)):
        note = f"note: reads {context.obj} of this folder; the service's is --config {other}"
        print(note, file=sys.stderr)


_WrongUsage: type[Exception] = typer.BadParameter.__bases__[0]
"""Click's UsageError, which Typer has within itself."""


def app() -> None:
    """Run the command line; 0 is success, 1 a refusal, 2 wrong usage.

    What goes wrong is told in one line for each mistake, and never as a traceback.
    """
    if sys.stdout is None:
        _refuse("standard output is closed")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _typer(standalone_mode=False, prog_name="sbcauth")
        sys.stdout.flush()
        sys.exit(code)
    except SbcAuthError as error:
        _refuse(str(error))
    except _WrongUsage as error:
        _refuse(_usage(error), code=2)
    except typer.Abort:
        _refuse("aborted")
    except OSError as error:
        _forget_what_cannot_be_written()
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        _refuse(f"{error.filename or 'sbcauth'}: {error.strerror}")


def _forget_what_cannot_be_written() -> None:
    """Leave nothing in standard output that Python would try to write, and fail, at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: Any) -> str:
    """Return what is wrong with the arguments; or the help, where there are none at all."""
    message: str = error.format_message()
    if "\n" in message:
        return message
    command = error.ctx.command_path if error.ctx else "sbcauth"
    return f"{command}: {message.rstrip('.')}; see {command} --help"


def _refuse(message: str, code: int = 1) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
