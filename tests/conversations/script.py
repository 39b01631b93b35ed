"""A conversation as a text: what its header says, and its steps in order.

The format is described in README.md beside this file.
"""

import re
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
PARTS = HERE / "parts"


class ScriptError(Exception):
    """The text is not a conversation; says where and why."""


@dataclass(frozen=True)
class Step:
    """One step: what its line says, and the block of lines that belongs to it, if any."""

    place: str
    kind: str  # ">", "<", "!", "=", "log" or "nolog"
    words: str
    block: tuple[str, ...] = ()


@dataclass(frozen=True)
class Script:
    """A conversation; `about` has its header: `# key: value` lines, each key's values.

    `variant` says which it is of those that its `# each:` lines make.
    """

    path: Path
    variant: str = ""
    about: dict[str, list[str]] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def values(self, key: str) -> list[str]:
        """Return the words of all header lines `key`, apart at commas and blanks."""
        return [word for line in self.about.get(key, []) for word in re.split(r"[\s,]+", line)]


_HEADER = re.compile(r"# *([a-z ]+): *(.*)")
_STEP = re.compile(r"(?:([<>!=])|(log|nolog)(?= )) *(.*)")


def read(path: Path) -> list[Script]:
    """Return the conversation in a file, once for each of its variants; raises ScriptError."""
    about: dict[str, list[str]] = {}
    text = path.read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if header := _HEADER.fullmatch(line):
            about.setdefault(header[1], []).append(header[2])
    each = [line.partition(" = ")[::2] for line in about.get("each", ())]
    values = (re.split(r" *\| *", alternatives) for _, alternatives in each)
    return [
        _variant(
            path, about, text, dict(zip((name for name, _ in each), chosen, strict=True)), number
        )
        for number, chosen in enumerate(product(*values), 1)
    ]


def _variant(
    path: Path, about: dict[str, list[str]], text: str, chosen: dict[str, str], number: int
) -> Script:
    for name, value in reversed(chosen.items()):  # a later one may have an earlier one in it
        text = text.replace(f"{{{name}}}", value)
    variant = " ".join([str(number), *chosen.values()]) if chosen else ""
    return Script(path, variant, about, tuple(_steps(path.name, text)))


def _steps(name: str, text: str) -> list[Step]:
    lines = iter(enumerate(text.splitlines(), 1))
    steps: list[Step] = []
    for number, line in lines:
        place = f"{name}:{number}"
        if not line.strip() or line.startswith("#"):
            continue
        found = _STEP.fullmatch(line)
        if not found:
            raise ScriptError(f"{place}: no step begins with {line!r}")
        kind, words = found[1] or found[2], found[3].strip()
        if kind == "=" and words.startswith("part "):
            steps += _part(place, words.split()[1:])
            continue
        block: list[str] = []
        if kind == ">" and _has_block(words):
            for _, inner in lines:
                if inner == ".":
                    break
                block.append(inner)
            else:
                raise ScriptError(f"{place}: the block has no end: a line with a dot alone")
        steps.append(Step(place, kind, words, tuple(block)))
    return steps


def _has_block(words: str) -> bool:
    """Tell whether a line `> …` is followed by a block: a message, or a reply's further lines."""
    _, _, rest = words.partition(" ")
    if rest.startswith("reply "):
        return rest.endswith(" with")
    return rest.partition(" ")[0] not in ("again", "ack", "cancel")


def _part(place: str, words: list[str]) -> list[Step]:
    """Return the steps of a part, with its `$names` filled in."""
    name, *settings = words
    text = (PARTS / f"{name}.txt").read_text(encoding="utf-8")
    values = dict(re.findall(r"^# *\$([a-z]+) *= *(.*)$", text, re.M))
    values |= dict(setting.split("=", 1) for setting in settings)

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ScriptError(f"{place}: the part {name} needs {match[1]}=")
        return str(values[match[1]])

    text = "".join(
        line if line.startswith("#") else re.sub(r"\$([a-z]+)", value, line)
        for line in text.splitlines(keepends=True)
    )
    return _steps(f"{place} ({name})", text)
