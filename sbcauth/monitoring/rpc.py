"""Asking a running Kamailio: JSON-RPC 2.0 over the local socket of its module jsonrpcs."""

import json
import secrets
import socket
from pathlib import Path
from typing import Any

from sbcauth.exceptions import SbcAuthError

_LONGEST_REPLY = 1 << 20


class NotRunning(SbcAuthError):
    """No server answers on the socket."""


class NotAllowed(NotRunning):
    """The socket is another user's: whether a server answers is not known."""


class RpcError(SbcAuthError):
    """The server answered that it will not."""


class Rpc:
    """The commands of a running server; every call opens and closes its own socket.

    `timeout` is in seconds; `hint` is what NotRunning says besides.
    """

    def __init__(self, path: Path, timeout: float = 2.0, hint: str = "") -> None:
        self.path = path
        self._timeout = timeout
        self._hint = hint

    def call(self, method: str, *parameters: str | int) -> Any:
        """Return the result of an RPC command.

        Raises NotRunning where nothing answers within the timeout (seconds), RpcError where
        the command fails.
        """
        number = secrets.randbelow(1 << 31)
        question = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": number}
        answer = self._exchange(json.dumps(question).encode())
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise RpcError(f"{method}: the answer is not to this question")
        if "error" in answer:
            raise RpcError(f"{method}: {answer['error'].get('message', 'failed')}")
        return answer.get("result")

    def _exchange(self, question: bytes) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            asking.settimeout(self._timeout)
            asking.bind("")  # a name without a file, which a server of another user can answer
            try:
                asking.sendto(question, str(self.path))
                return json.loads(asking.recv(_LONGEST_REPLY))
            except TimeoutError:
                raise NotRunning(f"{self.path}: no answer within {self._timeout:g} s") from None
            except PermissionError as error:
                raise NotAllowed(f"{self.path}: {error.strerror}; try as root") from error
            except OSError as error:
                reason = error.strerror or error
                message = f"no server answers on {self.path}: {reason}{self._hint}"
                raise NotRunning(message) from error
            except ValueError as error:
                raise RpcError(f"{self.path}: the answer is no JSON") from error
