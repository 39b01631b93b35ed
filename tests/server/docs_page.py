"""A page of the documentation, played: its files are written, its commands run, in order.

A fenced block after a line that ends in "`NAME`:" is the file NAME. In a `console` block, a line
that begins with `$` is a command, and the lines under it are what it must print; `…` stands for
any text. `sbcauth run` is started in the background, as in a shell of its own, and port 5060 is
another one, so that pages can be played anywhere.
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kamailio import SBCAUTH, Server, free_port

FILE = re.compile(r"`([\w/-]+\.\w+)`[^\n`]*:\n\n```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command, and what the page says that it prints; None where it says nothing."""

    line: str
    printed: str


class Page:
    """Plays one page in a folder; `passwords` are what is typed for a user name."""

    def __init__(self, text: str, folder: Path, passwords: Mapping[str, str] = {}) -> None:
        self.port = free_port()
        self._text = text.replace("5060", str(self.port))
        self._folder = folder
        self._passwords = passwords
        self.server: Server | None = None

    def play(self) -> int:
        """Write the files and run the commands in the order of the page; return how many ran."""
        ran = 0
        try:
            for step in self._steps():
                if isinstance(step, Command):
                    self._run(step)
                    ran += 1
                else:
                    name, content = step
                    (self._folder / name).write_text(content)
        finally:
            if self.server:
                self.server.stop()
        return ran

    def _steps(self) -> Iterator[Command | tuple[str, str]]:
        files = {found.end(): (found[1], found[2]) for found in FILE.finditer(self._text)}
        for block in BLOCK.finditer(self._text):
            if block.end() in files:
                yield files[block.end()]
            elif block[1] == "console":
                yield from commands(block[2])

    def _run(self, command: Command) -> None:
        words = shlex.split(command.line)
        if words[:2] == ["sbcauth", "run"]:
            config = (self._folder / "sbcauth.yaml").read_text()
            self.server = Server(self._folder, config, port=self.port)
            self.server.start()
            return
        typed = ""
        if words[:2] == ["sbcauth", "user"] and words[2] in ("add", "set-password"):
            command = command._replace(line=f"{command.line} --password-stdin")
            typed = self._passwords[words[3]] + "\n"
        done = subprocess.run(
            ["sh", "-c", command.line],
            cwd=self._folder,
            env={**os.environ, "PATH": f"{SBCAUTH.parent}:{os.environ['PATH']}"},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert fits(command.printed, done.stdout), (
            f"$ {command.line}\nshould print:\n{command.printed}\nbut printed:\n{done.stdout}"
        )
        if self.server and words[0] == "sbcauth":
            time.sleep(1.0)  # what a running server takes to see a change


def commands(block: str) -> Iterator[Command]:
    """Yield the commands of a console block with what they print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, printed = part.replace("\\\n", " ").partition("\n")
        yield Command(line, printed)


def fits(expected: str, printed: str) -> bool:
    """Tell whether what was printed is what the page says, space for space apart."""
    if not expected.strip():
        return True
    words = "…".join(" ".join(part.split()) for part in expected.split("…"))
    pattern = ".*".join(r"\s*".join(map(re.escape, part.split())) for part in words.split("…"))
    return re.fullmatch(pattern.strip(), printed.strip(), re.DOTALL) is not None
