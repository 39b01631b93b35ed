"""A file of named entries for its owner alone, which is read again when it has changed."""

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from sbcauth.exceptions import SbcAuthError
from sbcauth.files import write_whole

Entry = TypeVar("Entry")


class Entries(Generic[Entry]):
    """The entries of the file `path`, by name; `what` is what they are called.

    `parse` makes one of its name and of what the file has for it. Raises `error` for what cannot be
    read.
    """

    def __init__(
        self,
        path: Path,
        what: str,
        parse: Callable[[str, Any], Entry],
        error: type[SbcAuthError],
    ) -> None:
        self.path = path
        self._what = what
        self._parse = parse
        self._error = error
        self._read_at = (0, 0)
        self._entries: Mapping[str, Entry] = {}

    def all(self) -> Mapping[str, Entry]:
        """Return all entries by name; none where there is no file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._entries, self._read_at = {}, (0, 0)
            return self._entries
        except OSError as error:
            raise self._error(f"{self.path}: {error.strerror}") from error
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._error(f"{self.path}: others may write to it: chmod 600 {self.path}")
        if (found.st_mtime_ns, found.st_ino) != self._read_at:
            self._entries = self._read()
            self._read_at = (found.st_mtime_ns, found.st_ino)
        return self._entries

    def _read(self) -> Mapping[str, Entry]:
        try:
            entries = json.loads(self.path.read_text("utf-8"))
            return {name: self._parse(name, entry) for name, entry in entries.items()}
        except OSError as error:
            raise self._error(f"{self.path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._error(f"{self.path}: is no file of {self._what}") from None

    def write(self, entries: Mapping[str, Mapping[str, object]]) -> None:
        """Replace all entries; raises OSError where a link is in the place of the file."""
        write_whole(self.path, json.dumps(entries, indent=1) + "\n")
