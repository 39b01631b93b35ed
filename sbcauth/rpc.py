"""Asking a running Kamailio: JSON-RPC 2.0 over the local socket of its module jsonrpcs."""

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from sbcauth.exceptions import SbcAuthError

_LONGEST_REPLY = 1 << 20


class NotRunning(SbcAuthError):
    """No server answers on the socket."""


class RpcError(SbcAuthError):
    """The server answered that it will not."""


class Rpc:
    """The commands of a running server; every call opens and closes its own socket."""

    def __init__(self, path: Path, timeout: float = 2.0) -> None:
        self._path = path
        self._timeout = timeout

    def call(self, method: str, *parameters: str | int) -> Any:
        """Return the result of an RPC command.

        Raises NotRunning where nothing answers within the timeout (seconds), RpcError where
        the command fails.
        """
        question = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}
        answer = self._exchange(json.dumps(question).encode())
        if "error" in answer:
            raise RpcError(f"{method}: {answer['error'].get('message', 'failed')}")
        return answer.get("result")

    def _exchange(self, question: bytes) -> dict[str, Any]:
        with (
            tempfile.TemporaryDirectory(prefix="sbcauth-") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking,
        ):
            asking.settimeout(self._timeout)
            asking.bind(os.path.join(folder, "reply"))  # noqa: PTH118 - a socket's name
            try:
                asking.sendto(question, str(self._path))
                answer: dict[str, Any] = json.loads(asking.recv(_LONGEST_REPLY))
            except PermissionError as error:
                raise NotRunning(f"{self._path}: {error.strerror}; try as root") from error
            except OSError as error:
                raise NotRunning(f"no server answers on {self._path}: {error}") from error
            return answer
