"""What is no YAML, in words that say what to do; none of them shows the text of a value."""

import re
from collections.abc import Iterator

import yaml

_QUOTED = re.compile(r" '[^'<\\]{2,}'")  # what PyYAML quotes of the file, except its tokens
_INDENTED = re.compile(r"^ *(?:(\t)|[^\S\n\r ])", re.MULTILINE)
_CUT = re.compile(r"""^[ -]*(password_\w+|secret): *[^\s"'#][^#\n]*?\s(#)[^\s#]""", re.MULTILINE)
_CURES = {
    "cannot start any token": "put a value that begins so in quotes",
    "mapping values are not allowed here": (
        "either the line is indented otherwise than those around it, or a value has a colon in it, "
        "and belongs in quotes"
    ),
    "could not find expected ':'": "a key is followed by a colon and a space",
    "but found '<block mapping start>'": "this line is indented otherwise than those around it",
    "unexpected end of stream": "a quote is not closed",
}


def words(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong, as the parser has it, and what helps."""
    said = _QUOTED.sub("", " ".join(filter(None, (error.context, error.problem))))
    cure = next((cure for problem, cure in _CURES.items() if problem in said), "")
    return f"{said}: {cure}" if cure else said


def bad_indentation(text: str, line: int) -> tuple[int, str] | None:
    """Return where a line up to `line` is indented by more than spaces, and by what.

    The place counts characters from 0.
    """
    for found in _INDENTED.finditer(text):
        if text.count("\n", 0, found.end()) > line:
            break
        what = "a tab" if found[1] else "a space that is none to YAML (U+%04X)"
        character = text[found.end() - 1]
        shown = what if found[1] else what % ord(character)
        return found.end() - 1, f"the line is indented by {shown}: use spaces alone"
    return None


def cut_passwords(text: str) -> Iterator[tuple[str, int]]:
    """Yield key and place of each password that a comment follows at once: it may be one of both.

    The place counts characters from 0.
    """
    for found in _CUT.finditer(text):
        yield found[1], found.start(2)
