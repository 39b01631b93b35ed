"""YAML with its places: plain values, and where in the file each of them stands.

Only plain YAML is read: mappings, lists, words and decimal numbers. Aliases and tags are refused,
and so are numbers that YAML 1.1 reads in another base. No mistake shows the text of a value:
it may be a password that begins with `*`, `&` or `!`.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer, ComposerError
from yaml.reader import ReaderError

from sbcauth.config.yaml_words import bad_indentation, words
from sbcauth.exceptions import ConfigError, Mistake

Path = tuple[str | int, ...]
"""The way from the top of a document to a value: keys, and places in lists."""

_DEEPEST = 20
_TAG = "tag:yaml.org,2002:"
_READ = {f"{_TAG}{kind}" for kind in ("str", "int", "float", "bool", "null")}
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # "\uD800" is YAML, but no text that can be written


class Place(NamedTuple):
    """A place in a file; both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A document: its value, and the places of its values and of its keys."""

    file: str
    value: Any = field(repr=False)
    values: dict[Path, Place] = field(repr=False)
    keys: dict[Path, Place] = field(repr=False)

    def mistake(self, path: Path, message: str, *, at_key: bool = False) -> Mistake:
        """Return a mistake about what is at `path`, or about the nearest thing around it."""
        places = self.keys if at_key else self.values
        around = path
        while around and around not in places:
            around = around[:-1]
        place = places.get(around, Place(1, 1))
        named = path[:-1] if at_key else path
        return _mistake(self.file, place, named, message)


def dotted(path: Path) -> str:
    """Return a path as people write it: `ip_groups[1].auth_qop`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def place_after(text: str) -> Place:
    """Return the place that follows `text`, which is the beginning of a file."""
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


def read(file: str, text: str) -> Source:
    """Return the one document in `text`.

    Raises ConfigError where it is no plain YAML, or gives a key twice.
    """
    try:
        node = _compose(text)
    except ReaderError as error:
        place = place_after(text[: error.position])
        message = f"no YAML: the character U+{error.character:04X} is not allowed"
        raise ConfigError([_mistake(file, place, (), message)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        message = words(error)
        if mark and (found := bad_indentation(text, mark.line)):
            place, message = place_after(text[: found[0]]), found[1]
        raise ConfigError([_mistake(file, place, (), f"no YAML: {message}")]) from None
    reader = _Reader(file)
    value = reader.value_of(node, ()) if node is not None else None
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    return Source(file, value, reader.values, reader.keys)


def _compose(text: str) -> yaml.Node | None:
    """Return the document's nodes; what is wrong, Python's own parser says in its words."""
    for loader in _FAST_LOADERS:
        with suppress(yaml.YAMLError):
            return yaml.compose(text, Loader=loader)
    return yaml.compose(text, Loader=_PlainLoader)


class _Plain(Composer):
    """Composes a document, and refuses at once what could make a small file large."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            message = "anchors (&) and aliases (*) are not read: put text that begins so in quotes"
            raise ComposerError(None, None, message, event.start_mark)
        if self._depth > _DEEPEST:
            raise ComposerError(None, None, "nested too deep", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _PlainLoader(_Plain, yaml.SafeLoader):
    """Reads in Python."""


# A date and the words `=` and `<<` are text here.
_PlainLoader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] in _READ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_FAST_LOADERS: list[type[yaml.SafeLoader | yaml.CSafeLoader]] = []
"""The loader that reads by libyaml, in a fifth of the time, where there is one."""

if yaml.__with_libyaml__:

    class _FastLoader(_Plain, yaml.CSafeLoader):
        def __init__(self, stream: str) -> None:
            yaml.CSafeLoader.__init__(self, stream)
            Composer.__init__(self)

    _FastLoader.yaml_implicit_resolvers = _PlainLoader.yaml_implicit_resolvers
    _FAST_LOADERS.append(_FastLoader)


class _Reader:
    """Walks the nodes of a document and notes where everything stands."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._loader = yaml.SafeLoader("")
        self.values: dict[Path, Place] = {}
        self.keys: dict[Path, Place] = {}
        self.mistakes: list[Mistake] = []

    def value_of(self, node: yaml.Node, path: Path) -> Any:
        self.values[path] = _place(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or _SURROGATE.search(key_node.value):
                self._note(key_node, path, "a key must be a word")
                continue
            key = str(key_node.value)
            if key in mapping:
                self._note(key_node, path, f"key '{key}' is given twice")
            self.keys[*path, key] = _place(key_node)
            mapping[key] = self.value_of(value_node, (*path, key))
        return mapping

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag == f"{_TAG}str" and not _SURROGATE.search(node.value):
            return node.value  # as nearly all are
        if node.tag not in _READ:
            self._note(node, path, "tags (!) are not read: put text that begins so in quotes")
            return None
        if node.tag == f"{_TAG}int" and not _DECIMAL.fullmatch(node.value):
            message = (
                "is a number in another base to YAML, for a leading zero or a colon: "
                "write it without, or put it in quotes"
            )
            self._note(node, path, message)
            return None
        if _SURROGATE.search(node.value):
            self._note(node, path, "has half a character (U+D800 to U+DFFF)")
            return None
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError):
            self._note(node, path, f"is no {node.tag.removeprefix(_TAG)} that can be read")
            return None

    def _note(self, node: yaml.Node, path: Path, message: str) -> None:
        self.mistakes.append(_mistake(self._file, _place(node), path, message))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _mistake(file: str, place: Place, path: Path, message: str) -> Mistake:
    return Mistake(file, *place, _printable(dotted(path)), _printable(message))


def _printable(text: str) -> str:
    """Return `text` on one line that every terminal can show: keys may hold anything."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
