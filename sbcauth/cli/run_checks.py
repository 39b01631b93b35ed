"""What `sbcauth run` looks at first, to say in words what Kamailio would stumble over."""

import os
import sys
import time
from pathlib import Path

from sbcauth.exceptions import SbcAuthError
from sbcauth.monitoring import certificates, modules
from sbcauth.monitoring.ports import Listen, owner_of, why_not
from sbcauth.monitoring.servers import lock, refuse_a_second

_DEBIANS_OWN = " (Debian's own service by `systemctl disable --now kamailio`)"
_TLS_CONFIG = Path("/etc/kamailio/tls.cfg")
"""What kamailio.cfg reads where `--tls-config` is not given."""


class NotStarted(SbcAuthError):
    """Kamailio cannot be started as asked for."""


def have_modules(arguments: list[str]) -> None:
    """Raise NotStarted where modules of Kamailio are missing that this start needs."""
    lacking = [
        module
        for module in modules.missing(modules.installed())
        if not module.definition or module.definition in arguments
    ]
    if lacking:
        raise NotStarted("\n".join(map(str, lacking)))


def have_certificates(listen: list[str], tls_config: Path | None) -> None:
    """Raise NotStarted where Kamailio would not start for its certificates; warn of old ones."""
    if not any(address.startswith(("tls:", "wss:")) for address in listen):
        return
    found = list(certificates.troubles(tls_config or _TLS_CONFIG, time.time()))
    for trouble in found:
        if not trouble.fatal:
            print(f"warning: {trouble.text}", file=sys.stderr)
    if fatal := [trouble.text for trouble in found if trouble.fatal]:
        raise NotStarted("\n".join(fatal))


def be_the_only_one(file: Path, runtime: Path, listen: list[str]) -> None:
    """Raise RunsAlready or NotStarted where another server is in the way.

    Kamailio would take the socket of the other away, and bind the same UDP port.
    """
    lock(runtime)
    if "RUNTIME_DIRECTORY" not in os.environ:  # systemd's units may share a configuration
        refuse_a_second(file)
    for address in map(Listen.parse, listen):
        if owner := owner_of(address):
            how = _DEBIANS_OWN if owner.user == "kamailio" else ""
            raise NotStarted(
                f"{address} is used by {owner}: end that{how}, or listen elsewhere by "
                f"`sbcauth run --listen {address.transport}:ADDRESS:PORT`"
            )
        if trouble := why_not(address):
            raise NotStarted(f"--listen {address}: {trouble}")
