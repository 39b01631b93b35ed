"""YAML with its places: plain values, and where in the file each of them stands."""

from typing import Any, NamedTuple

import yaml

from sbcauth.exceptions import Complaint, ConfigError

Path = tuple[str | int, ...]
"""The way from the top of a document to a value: keys, and places in lists."""

_DEEPEST = 20


class Place(NamedTuple):
    """A place in a file; both numbers count from 1."""

    line: int
    column: int


class Source(NamedTuple):
    """A document: its value, and the places of its values and of its keys."""

    file: str
    value: Any
    values: dict[Path, Place]
    keys: dict[Path, Place]

    def complaint(self, path: Path, message: str, *, at_key: bool = False) -> Complaint:
        """Return a complaint about what is at `path`, or about the nearest thing around it."""
        places = self.keys if at_key else self.values
        around = path
        while around and around not in places:
            around = around[:-1]
        place = places.get(around, Place(1, 1))
        named = path[:-1] if at_key else path
        return Complaint(self.file, *place, dotted(named), message)


def dotted(path: Path) -> str:
    """Return a path as people write it: `ip_groups[1].auth_qop`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read(file: str, text: str) -> Source:
    """Return the one document in `text`.

    Raises ConfigError where it is no YAML, or gives a key twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = " ".join(filter(None, (error.context, error.problem)))
        raise ConfigError([Complaint(file, line, column, "", f"no YAML: {words}")]) from error
    except yaml.YAMLError as error:
        words = " ".join(str(error).split())
        raise ConfigError([Complaint(file, 1, 1, "", f"no YAML: {words}")]) from error
    reader = _Reader(file)
    value = reader.value_of(node, ()) if node is not None else None
    if reader.complaints:
        raise ConfigError(reader.complaints)
    return Source(file, value, reader.values, reader.keys)


class _Reader:
    """Walks the nodes of a document and notes where everything stands."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._loader = yaml.SafeLoader("")
        self.values: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.complaints: list[Complaint] = []

    def value_of(self, node: yaml.Node, path: Path) -> Any:
        self.values[path] = _place(node)
        if len(path) > _DEEPEST:
            self._complain(node, path, "is nested too deep")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(item, (*path, i)) for i, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            self._complain(node, path, f"is no {node.tag.rpartition(':')[2]} of YAML")
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in mapping:
                self._complain(key_node, path, f"key '{key}' is given twice")
            self.keys[*path, key] = _place(key_node)
            mapping[key] = self.value_of(value_node, (*path, key))
        return mapping

    def _complain(self, node: yaml.Node, path: Path, message: str) -> None:
        self.complaints.append(Complaint(self._file, *_place(node), dotted(path), message))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)
