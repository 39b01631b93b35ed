"""The process that keeps this node's copy of users in PostgreSQL; all workers read the copy."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import KSR

from sbcauth.config.reload import Reloaded
from sbcauth.exceptions import Unavailable
from sbcauth.monitoring import counts
from sbcauth.monitoring.users_copy import KEY, CopyState
from sbcauth.service import Service
from sbcauth_door import log as sbcauth_log
from sbcauth_door.route_block import ReturnCode

if TYPE_CHECKING:
    from sbcauth.users.copying import UsersCopy

_NEXT_TRY = 1.0
"""Seconds until a database is tried again that did not answer."""
_TELLS_EVERY = 1


class CopyingRoutes:
    """The routing function of the process that copies, which has nothing else to do."""

    services: Reloaded[Service]
    _copy: "UsersCopy | None" = None
    _state = CopyState("", 0, 0)
    _said = ""

    def copy_users(self, msg: object = None, *_: object) -> int:
        """Wait for a change of the users, at most half a second, and copy it."""
        try:
            service = self.services.value(time.time())
            if not service.copied_from:
                time.sleep(_NEXT_TRY)  # it may be again, after a reload
            else:
                self._follow(service.copied_from, service.users_file)
        except Exception:
            sbcauth_log.bug()
            time.sleep(_NEXT_TRY)  # a bug that lasts must not fill the log
        return ReturnCode.PASSED

    def _follow(self, url: str, path: Path) -> None:
        try:
            copy = self._copy_of(url, path)
            copy.follow()
        except Unavailable as error:
            failures = self._state.failures + 1
            self._tell(self._state._replace(server="", error=str(error), failures=failures))
            self._say(f"{error}; phones are served as last seen")
            time.sleep(_NEXT_TRY)
            return
        now = int(time.time())
        failures = self._state.failures
        state = CopyState(copy.server, copy.revision, now, users=copy.users, failures=failures)
        if state[:2] != self._state[:2] or now - self._state.seen_at >= _TELLS_EVERY:
            self._tell(state)
        self._say(f"User Info is copied from {copy.server}")

    def _copy_of(self, url: str, path: Path) -> "UsersCopy":
        """Return the copy of this database; raises Unavailable where its driver is missing."""
        from sbcauth.users.copying import UsersCopy  # in this process alone

        copy = self._copy
        if copy is None or (copy.url, copy.path) != (url, path):
            if copy:
                copy.close()
            copy = self._copy = UsersCopy(url, path)
        return copy

    def _tell(self, state: CopyState) -> None:
        """Tell `sbcauth status` how the copy stands."""
        self._state = state
        KSR.htable.sht_sets(counts.TABLE, KEY, state.encode())

    def _say(self, text: str) -> None:
        """Write what is new to the log."""
        if text != self._said:
            self._said = text
            sbcauth_log.notice(f"sbcauth: {text}\n")
