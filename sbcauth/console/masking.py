"""The configuration's text without its secrets, which nobody is shown, and put back again.

A text that can be read as YAML has a mark in the place of each secret. One that cannot has one in
the place of all that follows the key: where a value ends is not known then.
"""

import re
from collections.abc import Iterator

import yaml

from sbcauth.config import source as yaml_source
from sbcauth.exceptions import ConfigError, Mistake

_SECRET = re.compile(r"(?:password_as_\w+|secret)", re.IGNORECASE)
_LINE = re.compile(
    r"""^(?P<indent>[\s-]*)(?P<before>.*?["']?\b(?:password\w*|secret)["']?\s*:)(?P<rest>.*)$""",
    re.IGNORECASE,
)
MARK = "«secret {}»"
_MARK = re.compile(r"«secret (\d+)»")
_REFERENCE = re.compile(r"\$\{(?:env|file):")


class Masked:
    """A text, what is shown of it, and the secrets that its marks stand for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._secrets: list[str] = []
        try:
            self.shown = self._by_yaml(text)
        except (yaml.YAMLError, ConfigError):
            self._secrets = []
            self.shown = self._by_lines(text)

    def restored(self, edited: str) -> str:
        """Return an edited text with the secrets in the places of their marks.

        A mark counts as the value of a key that is secret alone: elsewhere it would be shown.
        """
        return "\n".join(map(self._restored_line, edited.split("\n")))

    def _restored_line(self, line: str) -> str:
        found = _LINE.match(line)
        if not found:
            return line
        return line[: found.start("rest")] + _MARK.sub(self._secret, found["rest"], count=1)

    def _secret(self, found: re.Match[str]) -> str:
        place = int(found[1])
        return self._secrets[place - 1] if 0 < place <= len(self._secrets) else found[0]

    def _by_yaml(self, text: str) -> str:
        yaml_source.read("", text)  # what is refused there, such as an alias, is no mapping here
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        shown, at = [], 0
        for secret in sorted(_secrets(node), key=lambda each: each.start_mark.index):
            begin, end = secret.start_mark.index, secret.end_mark.index
            if _REFERENCE.match(secret.value):
                continue
            shown += [text[at:begin], self._mark(text[begin:end])]
            at = end
        return "".join([*shown, text[at:]])

    def _by_lines(self, text: str) -> str:
        lines: list[str] = []
        deeper_than = -1
        for line in text.split("\n"):
            indent = len(line) - len(line.lstrip())
            if deeper_than >= 0 and (not line.strip() or indent > deeper_than):
                continue
            found = _LINE.match(line)
            deeper_than = len(found["indent"]) if found else -1
            if found and found["rest"].strip():
                line = line[: found.start("rest")] + " " + self._mark(found["rest"].strip())
            lines.append(line)
        return "\n".join(lines)

    def _mark(self, secret: str) -> str:
        self._secrets.append(secret)
        return MARK.format(len(self._secrets))


def _secrets(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Yield the nodes of secret values."""
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _secrets(each)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(value, yaml.ScalarNode) and _SECRET.fullmatch(str(key.value)):
                yield value
            else:
                yield from _secrets(value)


def new_references(file: str, old: str, new: str) -> list[Mistake]:
    """Return a complaint for each `${file:…}` and `${env:…}` that `old` has not, at the same key.

    Whoever may write one reads with it what the server may read.
    """
    known = {(path[-1:], value) for path, value in _references(file, old)}
    try:
        source = yaml_source.read(file, new)
    except ConfigError:
        return []
    words = "a reference that the file has not at such a key: write it into the file itself"
    return [
        source.mistake(path, words)
        for path, value in _references(file, new)
        if (path[-1:], value) not in known
    ]


def _references(file: str, text: str) -> Iterator[tuple[yaml_source.Path, str]]:
    try:
        value = yaml_source.read(file, text).value
    except ConfigError:
        return
    yield from _within((), value)


def _within(path: yaml_source.Path, value: object) -> Iterator[tuple[yaml_source.Path, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _within((*path, key), each)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _within((*path, place), each)
    elif isinstance(value, str) and "${" in value:
        yield path, value
