"""What a check finds."""

from typing import NamedTuple

from sbcauth.config.source import Path


class Finding(NamedTuple):
    """Where something is wrong, what it is, and whether the file cannot be used for it."""

    path: Path
    message: str
    fatal: bool
