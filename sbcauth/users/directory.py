"""The users: looked up for every decision, from a cache that notices each change at once."""

import json
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee

from sbcauth.digest.algorithms import RESPONSE_LENGTHS
from sbcauth.digest.ha1s import HA1s
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.policy.identities import identities_of
from sbcauth.users.database_url import sqlite_path
from sbcauth.users.migrations import version
from sbcauth.users.names import may_be_a_name
from sbcauth.users.sealing import Seals, key_file_beside
from sbcauth.users.sqlite import IDENTITIES_SINCE, open_for_reading, read_proof
from sbcauth.users.stored import Row, select, users

FRESHNESS = 0.1
"""Seconds after which the database is asked whether it has changed."""
PATIENCE = 0.1
"""Seconds that a look-up waits for a locked database; a SIP worker waits with it."""
CACHE_SIZE = 100_000
"""Answers that one process remembers."""

_BY_USERNAME = "WHERE ip_group=? AND username=? AND realm=?"
_BY_LOCAL_USER = "WHERE ip_group=? AND local_user=? ORDER BY user_info.id"
_TAKEN = "SELECT 1 FROM user_info WHERE ip_group=? AND local_user=? LIMIT 1"

# The joins are in the order in which SQLite is to do them.
_BY_IDENTITY = """
    SELECT user_info.id, ip_group, local_user, username, realm, enabled, NULL, NULL, NULL, NULL
    FROM json_each(?) AS wanted
    CROSS JOIN identity ON identity.pattern = wanted.value
    CROSS JOIN user_info ON user_info.id = identity.user
    WHERE ip_group=? AND realm=? ORDER BY wanted.key LIMIT 1
"""

_DECOY = User(
    *("", "", "", ""),
    enabled=False,
    ha1s=HA1s({name: "0" * digits for name, digits in RESPONSE_LENGTHS.items()}),
)
"""Opened where nobody is found, so that a name that is nobody's takes as long."""

_Key = tuple[str, ...]


class UserDirectory:
    """User Info as one process reads it. The database opens with the first look-up.

    `key_file` has the sealing keys; it is the one beside the database where none is given. Every
    H(A1) that a look-up returns is opened, and remembered so. Every method raises Unavailable
    where the database does not answer, or the keys are not the right ones; it is tried again with
    the next request.
    """

    def __init__(self, url: str, key_file: Path | None = None) -> None:
        self._path = sqlite_path(url)
        self._seals = Seals(key_file or key_file_beside(self._path))
        self._decoy: User | None = None
        self._is_known = False
        self._schema = 0
        self._known: OrderedDict[_Key, tuple[User, ...]] = OrderedDict()
        self._memos: list[dict[str, Any]] = []
        self._connection: sqlite3.Connection | None = None
        self._version: tuple[int, ...] = ()
        self._opened_by = 0
        self._next_look = 0.0

    def refresh(self, now: float) -> None:
        """Forget what may have changed; called with every request, at `now` (seconds)."""
        if 0 <= self._next_look - now <= FRESHNESS:
            return
        self._next_look = now + FRESHNESS
        try:
            seen = self._look()
        except (OSError, sqlite3.Error, peewee.PeeweeException):
            self.close()  # the look-up says what is wrong
            return
        if seen != self._version:
            self._forget()
            self._version = seen

    def memo_until_change(self) -> dict[str, Any]:
        """Return a dictionary to remember results in; it is emptied when users change."""
        memo: dict[str, Any] = self._new_memo()
        self._memos.append(memo)
        return memo

    def _new_memo(self) -> dict[str, Any]:
        return {}

    def find(self, ip_group: str, username: str, realm: str) -> User | None:
        """Return the user with this digest user name and realm."""
        return next(iter(self._select(_BY_USERNAME, (ip_group, username, realm))), None)

    def has_local_user(self, ip_group: str, local_user: str) -> bool:
        """Tell whether an address of record belongs to a user."""
        return bool(self._select(_TAKEN, (ip_group, local_user)))

    def find_by_identity(self, ip_group: str, number: str, realm: str) -> User | None:
        """Return the user of whose identities a number is one, without its H(A1)."""
        if not may_be_a_name(number):
            return None
        key = (_BY_IDENTITY, number, ip_group, realm)
        known = self._known.get(key)
        if known is None:
            wanted = json.dumps(identities_of(number))
            known = self._remember(key, self._read(_BY_IDENTITY, (wanted, ip_group, realm)))
        return next(iter(known), None)

    def find_by_local_user(self, ip_group: str, local_user: str, realm: str) -> User | None:
        """Return the user with this address of record whose H(A1) is for `realm`."""
        users = self._select(_BY_LOCAL_USER, (ip_group, local_user))
        return next((user for user in users if user.realm == realm and user.enabled), None)

    def _select(self, query: str, key: _Key) -> tuple[User, ...]:
        known = self._known.get((query, *key))
        if known is None:
            if not all(map(may_be_a_name, key)):
                return ()
            known = self._remember((query, *key), self._read(query, key))
        return known

    def _remember(self, key: _Key, found: tuple[User, ...]) -> tuple[User, ...]:
        if len(self._known) >= CACHE_SIZE:
            self._known.popitem(last=False)
        self._known[key] = found
        return found

    def _read(self, query: str, key: _Key) -> tuple[User, ...]:
        try:
            if query is _TAKEN:
                return (_DECOY,) * len(self._connected().execute(query, key).fetchall())
            self._get_to_know(self._connected())
            if query is _BY_IDENTITY and self._schema < IDENTITIES_SINCE:
                return ()
            found = tuple(user for _, user in users(self._rows(query, key), key))
        except (OSError, sqlite3.Error, peewee.PeeweeException) as error:
            self.close()
            hint = _missing_right(self._path)
            raise Unavailable(f"User Info {self._path}: {error}{hint}") from error
        is_sealed = self._decoy is not None
        if not found and self._decoy and query is _BY_USERNAME:
            self._seals.open(self._decoy, all_sealed=True)
        return tuple(self._seals.open(user, all_sealed=is_sealed) for user in found)

    def _rows(self, query: str, key: _Key) -> list[Row]:
        connection = self._connected()
        try:
            return connection.execute(self._whole(query), key).fetchall()
        except sqlite3.OperationalError:
            if version(connection) == self._schema:
                raise
        self._is_known = False  # a command has just brought it up to date
        self._get_to_know(connection)
        return connection.execute(self._whole(query), key).fetchall()

    def _whole(self, query: str) -> str:
        return query if query is _BY_IDENTITY else f"{select(self._schema)} {query}"

    def _get_to_know(self, connection: sqlite3.Connection) -> None:
        """See once, after every change, of what schema the database is, and whether it is sealed.

        A file of keys that is not the right one is known so before anybody is looked up: it must
        not tell who is there.
        """
        if self._is_known:
            return
        self._schema = version(connection)
        if not self._schema:  # made, and not yet written: so is a copy before its first users
            raise Unavailable(f"User Info {self._path} has no users yet")
        proof = read_proof(connection)
        if proof:
            self._seals.check(proof)
        elif self._seals.stamp():
            raise self._seals.missing_proof(self._path)
        self._decoy = self._seals.seal(_DECOY) if proof else None
        self._is_known = True

    def _look(self) -> tuple[int, ...]:
        """Return what changes with the database or the keys: files, and SQLite's own counter."""
        file = self._path.stat()
        identity = (file.st_dev, file.st_ino)
        if self._version[:2] != identity:
            self.close()
        (counter,) = self._connected().execute("PRAGMA data_version").fetchone()
        return (*identity, counter, *self._seals.stamp())

    def _connected(self) -> sqlite3.Connection:
        """Return this process's connection; one that came through a fork is the parent's."""
        if self._opened_by != os.getpid():
            self.close()
        if self._connection is None:
            self._path.stat()  # SQLite's own message does not say what is missing
            self._connection = open_for_reading(self._path, PATIENCE)
            self._opened_by = os.getpid()
        return self._connection

    def close(self) -> None:
        """Close the connection and forget every answer; the next look-up opens it again."""
        if self._connection is not None:
            if self._opened_by == os.getpid():
                self._connection.close()
            else:
                _INHERITED.append(self._connection)
        self._connection = None
        self._version = ()
        self._forget()

    def _forget(self) -> None:
        self._is_known = False
        self._known.clear()
        for memo in self._memos:
            memo.clear()


class CountingUserDirectory(UserDirectory):
    """A UserDirectory that tells `count` of each look-up whether its cache had the answer."""

    def __init__(
        self, count: Callable[[bool], None], url: str, key_file: Path | None = None
    ) -> None:
        super().__init__(url, key_file)
        self._count = count

    def _select(self, query: str, key: _Key) -> tuple[User, ...]:
        self._count((query, *key) in self._known)
        return super()._select(query, key)

    def _new_memo(self) -> dict[str, Any]:
        return _CountedNotes(self._count)


class _CountedNotes(dict[str, Any]):
    """Notes that make a look-up of a user unnecessary: each that is read is one in the cache."""

    def __init__(self, count: Callable[[bool], None]) -> None:
        super().__init__()
        self._count = count

    def get(self, key: str, default: Any = None) -> Any:
        """Return the note; the look-up that follows where there is none counts itself."""
        found = super().get(key, default)
        if found is not default:
            self._count(True)
        return found


def _missing_right(path: Path) -> str:
    """Return what the process may not do but must: SQLite's own message misleads.

    Readers write, too: SQLite keeps a log and its index beside the file. Opening the file as
    `immutable` would do without them, and would not see what was changed.
    """
    if not os.access(path, os.F_OK):
        return ""  # that message is the system's own, and clear
    if not os.access(path, os.R_OK):
        return "; this process may not read it"
    if not os.access(path.parent, os.W_OK):
        return f"; this process must be able to write in {path.parent}"
    return ""


_INHERITED: list[sqlite3.Connection] = []
"""A parent's connections, kept: to close one here would break SQLite's locks there."""
