"""The configuration's text without its secrets, which nobody is shown, and put back again.

A text that can be read as YAML has a mark in the place of each secret. One that cannot has one in
the place of all that follows the key: where a value ends is not known then. A password in a URL is
marked alone, and goes back into that very URL alone: in another it would be sent elsewhere.
"""

import re
from collections.abc import Iterator

import yaml

from sbcauth.config import source as yaml_source
from sbcauth.exceptions import ConfigError, Mistake
from sbcauth.users.database_url import without_password

_NAMES = r"\w*(?:pas\w*w|word_as_|secre|pwd)\w*"
"""Keys whose values are secret, misspelt ones too."""
_SECRET = re.compile(_NAMES, re.IGNORECASE)
_LINE = re.compile(
    rf"""^(?P<indent>[\s#-]*)(?P<before>.*?["']?\b{_NAMES}["']?\s*:)(?P<rest>.*)$""", re.IGNORECASE
)
_URL = re.compile(r"""\w[\w+]*://[^\s"',}\]]+(?:,[^\s"',}\]]+)*""")
_KEY = re.compile(r"""(\w+)["']?\s*:\s*["'\[]*$""")
"""The key right before a URL."""
MARK = "«secret {}»"
_MARK = re.compile(r"«secret (\d+)»")
_REFERENCE = re.compile(r"\$\{(?:env|file):")
_SHORTEST = 4
"""Shorter secrets are not looked for in a message: they may be part of any word."""


class Masked:
    """A text, what is shown of it, and the secrets that its marks stand for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._secrets: list[str] = []
        self._urls: dict[str, tuple[str, str]] = {}
        try:
            shown = self._by_yaml(text)
        except (yaml.YAMLError, ConfigError):
            self._secrets = []
            shown = self._by_lines(text)
        self.shown = "\n".join(map(self._without_passwords, shown.split("\n")))

    def restored(self, edited: str) -> str:
        """Return an edited text with the secrets in the places of their marks.

        A mark counts as the value of a key that is secret alone, or in its URL: elsewhere it would
        be shown.
        """
        return "\n".join(map(self._restored_line, edited.split("\n")))

    def unplaced(self, file: str, text: str) -> list[Mistake]:
        """Return a mistake for each mark that is still in a restored text."""
        words = "a mark of a secret counts only where it was: write the secret itself"
        return [
            Mistake(file, number, line.index(found[0]) + 1, "", words)
            for number, line in enumerate(text.split("\n"), 1)
            if (found := _MARK.search(line)) and not line.lstrip().startswith("#")
        ]

    def without_secrets(self, text: str) -> str:
        """Return a message with the marks of the secrets that it may quote."""
        for number, secret in enumerate(self._secrets, 1):
            bare = secret.strip(" \"'")
            if len(bare) >= _SHORTEST:
                text = text.replace(bare, MARK.format(number))
        return text

    def _restored_line(self, line: str) -> str:
        for shown, (key, url) in self._urls.items():
            before, found, after = line.partition(shown)
            named = _KEY.search(before)
            if found and (named[1] if named else "") == key:
                line = f"{before}{url}{after}"
        found_key = _LINE.match(line)
        if not found_key:
            return line
        at = found_key.start("rest")
        return line[:at] + _MARK.sub(self._secret, line[at:], count=1)

    def _secret(self, found: re.Match[str]) -> str:
        place = int(found[1])
        is_known = 0 < place <= len(self._secrets)
        return self._secrets[place - 1] if is_known and not self._is_of_url(place) else found[0]

    def _is_of_url(self, place: int) -> bool:
        return any(MARK.format(place) in shown for shown in self._urls)

    def _by_yaml(self, text: str) -> str:
        yaml_source.read("", text)  # what is refused there, such as an alias, is no mapping here
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        shown, at = [], 0
        for key, secret in _secrets(node):
            begin, end = secret.start_mark.index, secret.end_mark.index
            if "\n" in text[key.end_mark.index : begin]:  # its mark must be in the line of its key
                begin = text.index(":", key.end_mark.index) + 1
            value = text[begin:end].rstrip()
            if begin < at or not value:
                continue
            if isinstance(secret, yaml.ScalarNode) and _REFERENCE.match(secret.value):
                continue
            shown += [text[at:begin], self._mark(value)]
            at = begin + len(value)
        return "\n".join(map(self._comment, "".join([*shown, text[at:]]).split("\n")))

    def _comment(self, line: str) -> str:
        """Return a line, without what follows a secret key where it is a comment."""
        found = _LINE.match(line) if line.lstrip().startswith("#") else None
        if not found or not found["rest"].strip() or _MARK.search(line):
            return line
        return line[: found.start("rest")] + " " + self._mark(found["rest"].strip())

    def _by_lines(self, text: str) -> str:
        shown: list[str] = []
        lines = text.split("\n")
        while lines:
            line = lines.pop(0)
            if found := _LINE.match(line):
                secret = [found["rest"].lstrip(), *_deeper_than(len(found["indent"]), lines)]
                del lines[: len(secret) - 1]
                if any(secret):
                    space = " " if found["rest"][:1] in ("", " ") else ""
                    line = line[: found.start("rest")] + space + self._mark("\n".join(secret))
            shown.append(line)
        return "\n".join(shown)

    def _without_passwords(self, line: str) -> str:
        """Return a line with a mark in the place of each password in a URL."""

        def masked(found: re.Match[str]) -> str:
            url = without_password(found[0], self._unless_reference)
            if url != found[0]:
                key = _KEY.search(line[: found.start()])
                self._urls[url] = (key[1] if key else "", found[0])
            return url

        return _URL.sub(masked, line)

    def _unless_reference(self, password: str) -> str:
        is_secret = password and not _REFERENCE.match(password) and not _MARK.search(password)
        return self._mark(password) if is_secret else password

    def _mark(self, secret: str) -> str:
        self._secrets.append(secret)
        return MARK.format(len(self._secrets))


def _deeper_than(indent: int, lines: list[str]) -> list[str]:
    """Return the lines at the beginning that are deeper, or empty between such lines."""
    most = 0
    for number, line in enumerate(lines, 1):
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        most = number if line.strip() else most
    return lines[:most]


def _secrets(node: yaml.Node | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield the nodes of secret values, whatever they are, with those of their keys."""
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _secrets(each)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if _SECRET.fullmatch(str(key.value)):
                yield key, value
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
