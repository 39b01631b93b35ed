"""The environment of a running server: what `${env:…}` in the configuration means there."""

import os
import re
from pathlib import Path

from sbcauth.monitoring.rpc import Rpc

_NAMED = re.compile(r"\$\{env:(\w+)\}")


def unseen(config_file: Path, rpc: Rpc) -> list[str]:
    """Return the variables named in the file that the server has not, or not as they are here.

    A process keeps the environment that it was started with. Raises NotRunning and RpcError;
    where the server's environment cannot be read, it brings no finding.
    """
    names = sorted(set(_NAMED.findall(config_file.read_text("utf-8", errors="replace"))))
    if not names:
        return []
    pid = int(rpc.call("core.psx")[0]["PID"])
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return []
    theirs = dict(each.partition(b"=")[::2] for each in content.split(b"\0"))
    ours = {name: os.environb.get(name.encode()) for name in names}
    return [name for name in names if theirs.get(name.encode()) != ours[name]]
