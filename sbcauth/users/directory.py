"""The users: looked up for every decision, from a cache that notices each change at once."""

import json
import marshal
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import peewee

from sbcauth.digest.algorithms import RESPONSE_LENGTHS
from sbcauth.digest.ha1s import NO_HA1S, HA1s
from sbcauth.exceptions import Unavailable
from sbcauth.policy.accounts import User
from sbcauth.policy.identities import identities_of
from sbcauth.policy.learned import Learned, Memo, SharedMemo
from sbcauth.users.database_url import sqlite_path
from sbcauth.users.migrations import version
from sbcauth.users.names import may_be_a_name
from sbcauth.users.sealing import Seals, key_file_beside
from sbcauth.users.sqlite import IDENTITIES_SINCE, open_for_reading, read_proof
from sbcauth.users.stored import Row, select, select_one, users

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
    SELECT local_user, username, enabled
    FROM json_each(?) AS wanted
    CROSS JOIN identity ON identity.pattern = wanted.value
    CROSS JOIN user_info ON user_info.id = identity.user
    WHERE ip_group=? AND realm=? ORDER BY wanted.key LIMIT 1
"""

_NOBODY = User(*("", "", "", ""), enabled=False)
_DECOYS = {
    name: _NOBODY._replace(ha1s=HA1s({name: "0" * digits}))
    for name, digits in RESPONSE_LENGTHS.items()
}
"""By algorithm; opened where nobody is found, so that a name that is nobody's takes as long."""


T = TypeVar("T")


class UserDirectory:
    """User Info as one process reads it. The database opens with the first look-up.

    `key_file` has the sealing keys; it is the one beside the database where none is given. Every
    H(A1) that a look-up returns is opened, and remembered so. What is remembered of an answer is
    one object of bytes, since there may be very many. Every method raises Unavailable
    where the database does not answer, or the keys are not the right ones; it is tried again with
    the next request. What processes learn from each other is `learned`, as far as they have the
    same `configuration`, whose name tells it apart from any other.
    """

    def __init__(
        self,
        url: str,
        key_file: Path | None = None,
        learned: Learned | None = None,
        configuration: str = "",
    ) -> None:
        self._learned = learned
        self._configuration = configuration
        self._token = b""
        self._path = sqlite_path(url)
        self._seals = Seals(key_file or key_file_beside(self._path))
        self._decoys: dict[str, User] = {}
        self._is_known = False
        self._schema = 0
        self._known: dict[str, bytes] = {}
        self._memos: list[Memo] = []
        self._connection: sqlite3.Connection | None = None
        self._version: tuple[int, ...] = ()
        self._opened_by = 0
        self._next_look = 0.0

    def refresh(self, now: float) -> None:
        """Forget what may have changed; called with every request, at `now` (seconds)."""
        if 0 <= self._next_look - now <= FRESHNESS:
            return
        self._next_look = now + FRESHNESS
        token = self._learned.token() if self._learned else b""
        try:
            if self._has_changed():
                self._forget()
                token = self._learned.renew() if self._learned else b""
                self._has_changed()  # what was committed before the others could see the new token
        except (OSError, sqlite3.Error, peewee.PeeweeException):
            self.close()  # the look-up says what is wrong
            return
        self._token = token

    def memo_until_change(self) -> Memo:
        """Return a dictionary to remember results in; it is emptied when users change.

        Processes with one configuration make the same memos in the same order, and so know which
        of them are the same.
        """
        name = f"{self._configuration} {len(self._memos)}"
        memo = SharedMemo(self._learned, name, lambda: self._token) if self._learned else Memo()
        self._memos.append(memo)
        return memo

    def find(self, ip_group: str, username: str, realm: str, algorithm: str = "") -> User | None:
        """Return the user with this digest user name and realm, with H(A1) for one algorithm."""
        if algorithm not in RESPONSE_LENGTHS:
            algorithm = ""
        names = ip_group, username, realm
        found = self._answer(f"user {algorithm}", names, lambda: self._read_user(names, algorithm))
        for local_user, enabled, ha1, old_ha1, old_until in found:
            ha1s = HA1s({algorithm: ha1})
            old_ha1s = HA1s({algorithm: old_ha1}) if old_ha1 else NO_HA1S
            return User(ip_group, local_user, username, realm, enabled, ha1s, old_ha1s, old_until)
        return None

    def has_local_user(self, ip_group: str, local_user: str) -> bool:
        """Tell whether an address of record belongs to a user, whatever its H(A1) is."""
        names = ip_group, local_user
        found = self._answer(
            "taken", names, lambda: self._connected().execute(_TAKEN, names).fetchall()
        )
        return bool(found)

    def find_by_identity(self, ip_group: str, number: str, realm: str) -> User | None:
        """Return the user of whose identities a number is one, without its H(A1)."""
        names = ip_group, number, realm
        for local_user, username, enabled in self._answer(
            "number", names, lambda: self._read_owner(*names)
        ):
            return User(ip_group, local_user, username, realm, enabled)
        return None

    def find_by_local_user(self, ip_group: str, local_user: str, realm: str) -> User | None:
        """Return the user with this address of record whose H(A1) is for `realm`.

        It has that of every algorithm, and is not remembered: it answers a peer's challenge.
        """
        names = ip_group, local_user
        found = self._read(lambda: self._read_users(names)) if _are_names(names) else ()
        return next((user for user in found if user.realm == realm and user.enabled), None)

    def _answer(
        self, question: str, names: tuple[str, ...], read: Callable[[], Sequence[Row]]
    ) -> Sequence[Row]:
        """Return the rows that answer a question about `names`; none where they can be nobody's."""
        key = "\0".join((question, *names))
        known = self._remembered(key)
        if known is None:
            if not _are_names(names):
                return ()
            known = marshal.dumps(list(self._read(read)))
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[key] = known
        rows: Sequence[Row] = marshal.loads(known)  # noqa: S302 # what was made here
        return rows

    def _remembered(self, key: str) -> bytes | None:
        return self._known.get(key)

    def _read(self, read: Callable[[], Sequence[T]]) -> Sequence[T]:
        try:
            return read()
        except (OSError, sqlite3.Error, peewee.PeeweeException) as error:
            self.close()
            hint = _missing_right(self._path)
            raise Unavailable(f"User Info {self._path}: {error}{hint}") from error

    def _read_user(self, names: tuple[str, ...], algorithm: str) -> Sequence[Row]:
        """Return what `find` says of the one user with these names."""
        rows = self._rows(
            lambda schema: f"{select_one(schema)} {_BY_USERNAME}", (algorithm, *names)
        )
        if not rows:
            if decoy := self._decoys.get(algorithm):
                self._seals.open(decoy, all_sealed=True)
            return ()
        ((local_user, enabled, old_until, ha1, old_ha1),) = rows
        ip_group, username, realm = names
        ha1s, old_ha1s = (
            HA1s({algorithm: ha1}),
            HA1s({algorithm: old_ha1}) if old_until else NO_HA1S,
        )
        sealed = User(ip_group, local_user, username, realm, bool(enabled), ha1s, old_ha1s)
        user = self._seals.open(sealed, all_sealed=bool(self._decoys))
        get, get_old = user.ha1s.get, user.old_ha1s.get
        return [(local_user, user.enabled, get(algorithm), get_old(algorithm), old_until)]

    def _read_users(self, names: tuple[str, ...]) -> Sequence[User]:
        """Return all users with an address of record, with every H(A1)."""
        rows = self._rows(lambda schema: f"{select(schema)} {_BY_LOCAL_USER}", names)
        is_sealed = bool(self._decoys)
        return [self._seals.open(user, all_sealed=is_sealed) for _, user in users(rows)]

    def _read_owner(self, ip_group: str, number: str, realm: str) -> Sequence[Row]:
        """Return what `find_by_identity` says of the one user with a number."""
        wanted = json.dumps(identities_of(number))
        rows = self._rows(
            lambda schema: _BY_IDENTITY if schema >= IDENTITIES_SINCE else "",
            (wanted, ip_group, realm),
        )
        return [(local_user, username, bool(enabled)) for local_user, username, enabled in rows]

    def _rows(self, query: Callable[[int], str], parameters: Sequence[str]) -> list[Row]:
        """Return what a query finds that is made for the database's schema; none for none."""
        connection = self._connected()
        self._get_to_know(connection)
        try:
            return self._ask(connection, query, parameters)
        except sqlite3.OperationalError:
            if version(connection) == self._schema:
                raise
        self._is_known = False  # a command has just brought it up to date
        self._get_to_know(connection)
        return self._ask(connection, query, parameters)

    def _ask(
        self,
        connection: sqlite3.Connection,
        query: Callable[[int], str],
        parameters: Sequence[str],
    ) -> list[Row]:
        text = query(self._schema)
        return connection.execute(text, parameters).fetchall() if text else []

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
        decoys = _DECOYS.items() if proof else ()
        self._decoys = {algorithm: self._seals.seal(decoy) for algorithm, decoy in decoys}
        self._is_known = True

    def _has_changed(self) -> bool:
        """Tell whether anything has changed since this was last asked."""
        seen = self._look()
        has_changed = seen != self._version
        self._version = seen
        return has_changed

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
        self._token = b""
        self._known.clear()
        for memo in self._memos:
            memo.clear()


class CountingUserDirectory(UserDirectory):
    """A UserDirectory that tells `count` of each look-up whether its cache had the answer."""

    def __init__(
        self,
        count: Callable[[bool], None],
        url: str,
        key_file: Path | None = None,
        learned: Learned | None = None,
        configuration: str = "",
    ) -> None:
        super().__init__(url, key_file, learned, configuration)
        self._count = count

    def memo_until_change(self) -> Memo:
        """Return a memo: each note that is read makes a look-up unnecessary, and counts as one."""
        memo = _CountedMemo(super().memo_until_change(), self._count)
        self._memos[-1] = memo
        return memo

    def _remembered(self, key: str) -> bytes | None:
        known = super()._remembered(key)
        self._count(known is not None)
        return known


class _CountedMemo(Memo):
    """A memo that counts each note that is read; `inner` learns from other processes."""

    def __init__(self, inner: Memo, count: Callable[[bool], None]) -> None:
        super().__init__()
        self._inner = inner
        self._count = count

    def get(self, key: str, default: Any = None) -> Any:
        """Return the note; the look-up that follows where there is none counts itself."""
        found = super().get(key, default)
        if found is not default:
            self._count(True)
        return found

    def learned(self, key: str) -> bytes | None:
        """Return what another process has learned about `key`."""
        found = self._inner.learned(key)
        if found is not None:
            self._count(True)
        return found

    def tell(self, key: str, text: bytes) -> None:
        """Have other processes know it, too."""
        self._inner.tell(key, text)


def _are_names(names: Sequence[str]) -> bool:
    return all(map(may_be_a_name, names))


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
