"""Reloading the configuration of a running server, in one process after the other.

`sbcauth reload` checks the file and then renews a stamp beside the nonce keys. Each process
looks at the stamp a few times a second, with the next request, and builds a new service from the
file. Where that fails (the file was changed once more) the old one stays in force. A thousand IP
Groups take some tenths of a second: one process at a time has its turn, and the others serve.
"""

import gc
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Generic, TypeVar

from sbcauth.config.load import Config, load
from sbcauth.exceptions import SbcAuthError
from sbcauth.files import write_whole

LOOKS_EVERY = 0.2
"""Seconds between two looks at the stamp."""
_NEXT_TRY = 0.02
"""Seconds until a process looks again that has not had its turn."""

S = TypeVar("S")


def stamp(config: Config) -> Path:
    """Return the file whose time says when a reload was last asked for."""
    return config.nonce_key_file.with_suffix(".reload")


def request_reload(config: Config) -> None:
    """Tell the running server to reload the configuration; raises OSError."""
    write_whole(stamp(config), "")


class Reloaded(Generic[S]):
    """What `build` makes of the configuration in force; `log` is told of every change.

    `turn` is entered to reload, and says whether this process may now.
    """

    def __init__(
        self,
        config: Config,
        environment: Mapping[str, str],
        build: Callable[[Config], S],
        log: Callable[[str], None],
        turn: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
    ) -> None:
        self._config = config
        self._environment = environment
        self._build = build
        self._log = log
        self._turn = turn
        self._value = build(config)
        self._seen = self._renewed()
        self._next_look = 0.0

    def value(self, now: float) -> S:
        """Return what is in force at `now` (seconds)."""
        if not 0 <= self._next_look - now <= LOOKS_EVERY:
            self._next_look = now + LOOKS_EVERY
            renewed = self._renewed()
            if renewed != self._seen:
                with self._turn() as mine:
                    if mine:
                        self._seen = renewed
                        self._reload()
                    else:
                        self._next_look = now + _NEXT_TRY
        return self._value

    def _reload(self) -> None:
        gc.disable()  # it would look through half of what is made, over and over: twice the time
        try:
            config = load(self._config.file, self._environment)
            self._value = self._build(config)
        except SbcAuthError as error:
            self._log(f"configuration not reloaded, the old one stays in force: {error}")
            return
        finally:
            gc.enable()
        self._config = config
        self._log(f"configuration reloaded: {config.file}")

    def _renewed(self) -> int:
        try:
            return stamp(self._config).stat().st_mtime_ns
        except OSError:
            return 0
