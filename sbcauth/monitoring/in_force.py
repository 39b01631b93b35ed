"""Which configuration is in force in a running server, as it tells in shared memory."""

import json
import time
from typing import NamedTuple

from sbcauth.monitoring import counts
from sbcauth.monitoring.rpc import Rpc

KEY = f"{counts.LISTED}configuration"
"""The key under which shared memory has an InForce, as text."""

_PATIENCE = 3.0
_LOOKS_EVERY = 0.1


class InForce(NamedTuple):
    """What is in force in a running server, as the process that loaded it last says.

    `loaded_at` is in seconds since 1970; `nonce_key` is the id of the key that signs nonces;
    `in_shadow` are the IP Groups in which nobody is refused; `file` is the configuration's.
    """

    version: str
    loaded_at: int
    nonce_key: int
    in_shadow: tuple[str, ...]
    file: str = ""

    def encode(self) -> str:
        """Return it as text."""
        return json.dumps(self)


def running(rpc: Rpc) -> InForce | None:
    """Return what is in force, None where the server does not say; raises NotRunning, RpcError."""
    text = counts.value(rpc, KEY)
    if text is None:
        return None
    version, loaded_at, nonce_key, in_shadow, *file = json.loads(str(text))
    return InForce(version, loaded_at, nonce_key, tuple(in_shadow), *file)


def is_in_force(rpc: Rpc, version: str, since: int) -> bool:
    """Wait a few seconds until `version` is in force; tell whether it is.

    It must have been loaded at `since` (seconds since 1970) or later. Raises NotRunning, RpcError.
    """
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        now = running(rpc)
        if now and now.version == version and now.loaded_at >= since:
            return True
        time.sleep(_LOOKS_EVERY)
    return False
