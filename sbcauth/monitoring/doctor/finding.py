"""What the doctor finds."""

import stat
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Grade(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """What was looked at, how it is, and what to do where it is not well."""

    grade: Grade
    subject: str
    text: str


def is_open(path: Path) -> bool:
    """Tell whether others than the owner and its group have a right to a file."""
    return bool(path.stat().st_mode & stat.S_IRWXO)
