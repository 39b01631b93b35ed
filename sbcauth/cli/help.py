"""The list of commands in `--help`: whole sentences, on as many lines as they take."""

import re
from typing import Any

from typer.core import TyperGroup


class WithWholeSentences(TyperGroup):
    """A group of commands whose help says of each what it does; Click cuts that to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names of the commands, with the first sentence of each one's help."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, _first_sentence(command.help or "")) for name, command in commands if command
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(text: str) -> str:
    """Return the first sentence, without its full stop."""
    return re.split(r"\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0]
