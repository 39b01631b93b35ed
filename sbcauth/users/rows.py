"""The rows of a file of users: CSV as we write it, and as an AudioCodes SBC does.

The first row names the columns, in any order. Two kinds of file of the box are read as they are:

    LocalUser,UserName,Password,IPGroupName        [SBC]
    John,johnd,2798,ITSP                           FORMAT LocalUser,UserName,Password,IPGroupID
                                                   John,johnd,2798,2

The older one, on the right, has no quotes and may have other sections, which are not ours. In the
place of commas there may be semicolons, or tabs, as `mysql --batch` writes them.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO, NamedTuple

from sbcauth.digest.algorithms import Algorithm

HA1_COLUMNS = {f"ha1_{algorithm.label}": algorithm for algorithm in Algorithm}
"""The algorithm of each column that has an H(A1)."""
COLUMNS = (
    *("local_user", "username", "ip_group", "realm", "enabled"),
    *HA1_COLUMNS,
    "identities",
)
"""The columns that are written, in this order."""
_READ = (*COLUMNS, "password", "ip_group_id")
_NAMES = {"ipgroupname": "ip_group"} | {name.replace("_", ""): name for name in _READ}
_LONGEST_LINE = 8192  # bytes
_OPEN_QUOTE = "a quotation mark is open at the end of the line"


class BadFile(Exception):
    """The file cannot be read on from `line`."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Row(NamedTuple):
    """A row: the line that it is on, the columns of the file, and the row's values for them."""

    line: int
    columns: Sequence[str]
    values: Sequence[str]


def rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a file; raises BadFile where it cannot be read on."""
    lines = _Lines(file)
    text = iter(lines)
    first = next((line for line in text if line.strip()), "")
    if first.lstrip().startswith("["):
        return _older_rows(lines, chain([first], text))
    return _csv_rows(lines, first, text)


class _Lines:
    """The lines of a file as text; `number` is that of the latest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(_LONGEST_LINE):
            self.number += 1
            if len(line) == _LONGEST_LINE:
                raise BadFile(self.number, f"the line is longer than {_LONGEST_LINE} bytes")
            try:
                yield line.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise BadFile(self.number, "is not UTF-8") from None


def _csv_rows(lines: _Lines, first: str, text: Iterator[str]) -> Iterator[Row]:
    delimiter = next((each for each in (",", "\t", ";") if each in first), ",")
    columns = _columns(next(csv.reader(first.splitlines(), delimiter=delimiter), []), lines.number)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        line = lines.number + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            message = _OPEN_QUOTE if lines.number > line else f"no CSV: {error}"
            raise BadFile(line, message) from None
        if values is None:
            return
        if lines.number > line:
            raise BadFile(line, _OPEN_QUOTE)
        if values:
            yield Row(line, columns, values)


def _older_rows(lines: _Lines, text: Iterator[str]) -> Iterator[Row]:
    section = ""
    columns: list[str] = []
    for line in (each.strip() for each in text):
        if line.startswith("["):
            section, columns = line.upper(), []
        elif section != "[SBC]" or not line or line.startswith(";"):
            continue
        elif line.upper().startswith("FORMAT "):
            columns = _columns(line[len("FORMAT ") :].split(","), lines.number)
        elif columns:
            yield Row(lines.number, columns, line.split(","))
        else:
            raise BadFile(lines.number, "comes before the line FORMAT, which names the columns")


def _columns(header: Sequence[str], line: int) -> list[str]:
    """Return our names for the columns that the first row names."""
    columns = []
    for name in header:
        column = _NAMES.get(name.strip().replace("_", "").lower())
        if column is None:
            raise BadFile(line, f"there is no column {name!a}: {', '.join(_READ)}")
        columns.append(column)
    if len(set(columns)) != len(columns):
        raise BadFile(line, "a column is there twice")
    if not {"username", "local_user"} & set(columns):
        raise BadFile(line or 1, f"the first row must name the columns: {', '.join(_READ)}")
    return columns
