"""The values of sbcauth.yaml: what each may be, in words and in the box's numbers.

Every validator raises ValueError with words that follow the key: "5 is not within 30..600". What
it reads is told to the JSON Schema too, which would know only what it returns.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from unicodedata import category
from urllib.parse import quote

from pydantic import BeforeValidator, Field, ValidationInfo

from sbcauth.users.database_url import is_postgresql

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600}
_SECRET = re.compile(r"\$\{(?:(env|file):([^}]+)\})?")


def shown(value: Any) -> str:
    """Return `value` for a mistake; what holds others may hold a secret in the wrong place."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return f"{str(value).lower()} (YAML reads yes, no, on and off as such: use quotes)"
        case _:
            return repr(value)


def words(kind: type[StrEnum], numbers: Mapping[int, str] | None = None) -> BeforeValidator:
    """Accept the members of `kind` in any case, and the box's numbers for them."""

    def parse(value: Any) -> StrEnum:
        word = numbers.get(value, value) if numbers and type(value) is int else value
        try:
            return kind(str(word).lower())
        except ValueError:
            raise ValueError(f"{shown(value)} is not one of {', '.join(kind)}") from None

    return BeforeValidator(parse, json_schema_input_type=kind | int if numbers else kind)


def number(lowest: int, highest: int) -> BeforeValidator:
    """Accept whole numbers within bounds."""

    def parse(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"{shown(value)} is not a whole number within {lowest}..{highest}")
        if not lowest <= value <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest}")
        return value

    return BeforeValidator(
        parse, json_schema_input_type=Annotated[int, Field(ge=lowest, le=highest)]
    )


def seconds(lowest: float, highest: float, kind: Callable[[float], Any] = int) -> BeforeValidator:
    """Accept a number of seconds within bounds, or a time such as 5m."""

    def parse(value: Any) -> Any:
        match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
        if match is None:
            raise ValueError(f"{shown(value)} is not a time such as 300, 300s or 5m")
        seconds = float(match[1]) * _UNITS[match[2]]
        if not lowest <= seconds <= highest:
            raise ValueError(f"{value} is not within {lowest}..{highest} seconds")
        if kind is int and seconds != int(seconds):
            raise ValueError(f"{value} is not a whole number of seconds")
        return kind(seconds)

    return BeforeValidator(parse, json_schema_input_type=float | str)


def text(pattern: re.Pattern[str], wanted: str) -> BeforeValidator:
    """Accept text that fits a pattern; `wanted` says in words what that is."""

    def parse(value: Any) -> str:
        if type(value) in (int, float):
            raise ValueError(f"{value} is a number to YAML: put it in quotes")
        if isinstance(value, str) and pattern.fullmatch(value) and value.isprintable():
            return value
        raise ValueError(f"{shown(value)} is not {wanted}")

    return BeforeValidator(parse)


REALM = text(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}"), "a host name, such as example.com")
NAME = text(re.compile(r"\S(.{0,62}\S)?"), "a name of 1 to 64 printable characters")
USER_AGENT = text(
    re.compile(r".{1,255}"), "the text of a User-Agent, in which * stands for any text"
)
HOST = text(re.compile(r"[\w.*?\[\]:-]{1,255}"), "a host name, in which * stands for any text")


def secret(value: Any, info: ValidationInfo) -> str:
    """Return a secret, fetched where it says `${env:NAME}` or `${file:PATH}`.

    A mistake never shows the value.
    """
    if type(value) in (int, float):
        raise ValueError("is a number to YAML: put it in quotes")
    if not isinstance(value, str):
        raise ValueError("must be text (put it in quotes)")
    text = _with_secrets(value, info)
    if not text or any(category(character) == "Cc" for character in text):
        raise ValueError("is empty, or has control characters")
    return text


def database(value: Any, info: ValidationInfo) -> str:
    """Return the URL of a database; what is fetched into one of PostgreSQL is quoted for it."""
    if not isinstance(value, str):
        raise ValueError("must be text (put it in quotes)")
    if is_postgresql(value):
        return _with_secrets(value, info, lambda secret: quote(secret, safe=""))
    return _with_secrets(value, info)


def _with_secrets(value: str, info: ValidationInfo, as_written: Callable[[str], str] = str) -> str:
    """Return `value` with what it says is to be fetched, `as_written` there."""
    context: Mapping[str, Any] = info.context or {}

    def fetch(match: re.Match[str]) -> str:
        kind, name = match.groups()
        if kind is None:
            raise ValueError("has a ${ that begins neither ${env:NAME} nor ${file:PATH}")
        if kind == "env":
            if name not in context["environment"]:
                raise ValueError(f"the environment has no variable {name}")
            return as_written(str(context["environment"][name]))
        try:
            return as_written(Path(context["folder"], name).read_text("utf-8").rstrip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ValueError(f"{name}: {reason}") from None

    return _SECRET.sub(fetch, value)


def names(value: Any) -> tuple[str, ...]:
    """Return names of what stands elsewhere in the file; one may stand without a list."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) or not item:
            raise ValueError(f"{shown(item)} is not a name")
    return tuple(items)


def off(value: Any) -> Any:
    """Return the word `off` for what YAML takes it for; leave all others to `words`."""
    return "off" if value is False else value


LOG_TO_AUTO = "auto"
_LOG_TO = (LOG_TO_AUTO, "journal", "syslog", "stdout")


def log_to(value: Any) -> str:
    """Return where outcomes are written: a word, or the path of a file, which has a slash."""
    if isinstance(value, str):
        if value.lower() in _LOG_TO:
            return value.lower()
        if "/" in value and value.isprintable() and not value.endswith("/"):
            return value
    words = ", ".join(_LOG_TO)
    raise ValueError(f"{shown(value)} is not one of {words}, nor a file's path with a / in it")


def flag(value: Any) -> bool:
    """Return true or false, and nothing that YAML takes for it."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{shown(value)} is not one of true, false")
