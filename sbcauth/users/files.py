"""Users in bulk: a whole file is added to User Info, or nothing of it; and all are written out."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import IO, Any, BinaryIO

from sbcauth.digest.algorithms import RESPONSE_LENGTHS
from sbcauth.digest.ha1s import HA1s
from sbcauth.exceptions import UserInfoError
from sbcauth.policy.accounts import User
from sbcauth.policy.ip_groups import IPGroup
from sbcauth.users import identities, rows
from sbcauth.users.membership import ip_group_named
from sbcauth.users.names import check_names, default_local_user
from sbcauth.users.replacement import move_to_temporary_table, with_old_passwords
from sbcauth.users.table import UserTable

_ENABLED = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_HEX = re.compile(r"[0-9a-f]+")
_MOST_MISTAKES = 20
_BATCH = 1000


class BadUserFile(UserInfoError):
    """The file cannot be imported; every bad row is named by its line."""


class _BadRow(UserInfoError):
    """What is wrong with a row."""


class UserFile:
    """The users in a file; `name` is what mistakes call it.

    `ip_groups` are those of the configuration, `default` the one of rows that name none, and
    `by_realm` those of rows that name only a realm. With `skip` the rows that fit are imported,
    though others do not; without, none are.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        ip_groups: Sequence[IPGroup],
        default: IPGroup | None = None,
        by_realm: Mapping[str, IPGroup] = MappingProxyType({}),
        *,
        skip: bool = False,
    ) -> None:
        self._file = file
        self._name = name
        self._groups = {group.name: group for group in ip_groups}
        self._default = default
        self._by_realm = by_realm
        self._skip = skip
        self._broken = False
        self._mistakes: list[tuple[int, str]] = []
        self._more = 0
        self.identities: dict[tuple[str, str, str], list[str]] = {}
        """The identities of those who have any, by IP Group, user name and realm."""

    def users(self) -> Iterator[tuple[int, User]]:
        """Yield each user with its line; what is wrong with the others `check` tells."""
        try:
            for row in rows.rows(self._file):
                try:
                    yield row.line, self._user(row)
                except UserInfoError as error:
                    self.note_mistake(row.line, str(error))
        except rows.BadFile as bad:
            self._broken = True
            self.note_mistake(bad.line, str(bad))

    def note_mistake(self, line: int, message: str) -> None:
        """Note what is wrong with the row on a line."""
        if len(self._mistakes) < _MOST_MISTAKES:
            self._mistakes.append((line, message))
        else:
            self._more += 1

    def mistakes(self) -> list[str]:
        """Return what was wrong, a line for each row; of many, the first and how many more."""
        said = [f"{self._name}:{line}: {message}" for line, message in sorted(self._mistakes)]
        if self._more:
            said.append(f"{self._name}: {self._more} more rows are wrong")
        return said

    @property
    def skipped(self) -> int:
        """Return how many rows were wrong."""
        return len(self._mistakes) + self._more

    def check(self) -> None:
        """Raise BadUserFile where something was wrong that is not to be skipped."""
        if (said := self.mistakes()) and (self._broken or not self._skip):
            raise BadUserFile("\n".join(said))

    def _user(self, row: rows.Row) -> User:
        if len(row.values) != len(row.columns):
            raise _BadRow(f"has {len(row.values)} values for {len(row.columns)} columns")
        value = dict(zip(row.columns, row.values, strict=True))
        group = self._group(value)
        username = value.get("username") or value.get("local_user", "")
        names: dict[str, Any] = {
            "ip_group": group.name,
            "username": username,
            "realm": value.get("realm") or group.realm,
            "local_user": value.get("local_user") or default_local_user(username),
        }
        check_names(names)
        if given := identities.checked(value.get("identities", "").split()):
            self.identities[group.name, username, names["realm"]] = given
        enabled = _ENABLED.get(value.get("enabled", "").lower())
        if enabled is None:
            raise _BadRow("enabled is neither yes nor no")
        return User(**names, enabled=enabled, ha1s=_ha1s(value, username, names["realm"]))

    def _group(self, value: Mapping[str, str]) -> IPGroup:
        """Return a row's IP Group: by name, or as in the box's older files by place, from 0."""
        if place := value.get("ip_group_id"):
            names = list(self._groups)
            if not (place.isdecimal() and int(place) < len(names)):
                raise _BadRow(f"{place!a} is no place of an IP Group (0..{len(names) - 1})")
            return self._groups[names[int(place)]]
        if name := value.get("ip_group"):
            return self._groups.get(name) or ip_group_named(self._groups.values(), name)
        if group := self._by_realm.get(value.get("realm", "")):
            return group
        if self._default is None:
            raise _BadRow(
                "names no IP Group; --ip-group, or --realm REALM=IP_GROUP, is for such rows"
            )
        return self._default


def import_users(
    table: UserTable,
    source: UserFile,
    *,
    replace: bool = False,
    dry_run: bool = False,
    memory: int = 0,
) -> Counter[str]:
    """Add all users of a file, or none; return how many there are of each IP Group.

    `replace` removes all others, and has passwords that change recognised for `memory` seconds;
    `dry_run` does everything, and then takes it back. Raises
    BadUserFile where a row is wrong, or its user exists already, and is not to be skipped.
    """
    counts: Counter[str] = Counter()
    with table.transaction(keep=not dry_run):
        if replace:
            move_to_temporary_table(table)
        rows = source.users()
        while batch := list(islice(rows, _BATCH)):
            users = [user for _, user in batch]
            if replace and memory:
                users = with_old_passwords(table, users, memory)
            for place in table.insert(users):
                line, user = batch[place]
                where = f"the IP Group {user.ip_group}, realm {user.realm}"
                source.note_mistake(line, f"{user.username} exists already in {where}")
                counts[user.ip_group] -= 1
                source.identities.pop(_names(user), None)
            counts.update(user.ip_group for _, user in batch)
            _add_identities(table, source, batch)
        source.check()
        if replace and not +counts:
            raise BadUserFile("the file has no users: the table is left as it is")
    return +counts


def _add_identities(table: UserTable, source: UserFile, batch: list[tuple[int, User]]) -> None:
    """Give the users of a batch their identities, or note what is wrong with their rows."""
    for line, user in batch:
        if given := source.identities.pop(_names(user), None):
            try:
                table.set_identities(table.find(user.username, user.ip_group, user.realm), given)
            except UserInfoError as error:
                source.note_mistake(line, str(error))


def _names(user: User) -> tuple[str, str, str]:
    return user.ip_group, user.username, user.realm


def export_users(
    table: UserTable, file: IO[str], track: Callable[[Iterable[User]], Iterable[User]] = iter
) -> int:
    """Write all users with their H(A1), which are as good as passwords; return how many.

    `track` hands them on, one by one, and may show how far it is.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.COLUMNS)
    identities_of = table.all_identities()
    count = 0
    for count, user in enumerate(track(table.users()), start=1):  # noqa: B007
        row = {
            **user._asdict(),
            "enabled": "yes" if user.enabled else "no",
            **{column: user.ha1s.get(algorithm) for column, algorithm in rows.HA1_COLUMNS.items()},
        }
        row["identities"] = " ".join(identities_of.get(_names(user), ()))
        writer.writerow([row[column] for column in rows.COLUMNS])
    return count


def _ha1s(row: Mapping[str, str], username: str, realm: str) -> HA1s:
    """Return H(A1) of the row's password, or as they stand there."""
    given = {column: row[column].lower() for column in rows.HA1_COLUMNS if row.get(column)}
    password = row.get("password")
    if password and given:
        raise _BadRow("has a password and an H(A1): one is enough")
    if password:
        return HA1s.of_password(username, realm, password)
    if not given:
        raise _BadRow("has neither a password nor an H(A1)")
    for column, ha1 in given.items():
        digits = RESPONSE_LENGTHS[rows.HA1_COLUMNS[column]]
        if len(ha1) != digits or not _HEX.fullmatch(ha1):
            raise _BadRow(f"{column} is not {digits} hexadecimal digits")
    return HA1s({rows.HA1_COLUMNS[column]: ha1 for column, ha1 in given.items()})
