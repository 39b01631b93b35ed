"""WebSockets (RFC 7118): which web pages may have a browser open one."""

import KSR

from sbcauth.monitoring.log_line import word
from sbcauth.service import Service
from sbcauth_door import log


def may_open(service: Service) -> bool:
    """Tell whether the page that has the browser open a WebSocket may do so.

    Browsers name the page's origin (RFC 6455, 10.2); what is no browser names none, and could name
    any: it has to authenticate as any other phone.
    """
    origin = KSR.hdr.get("Origin")
    allowed = service.websocket_origins
    if origin is None or "*" in allowed or origin.lower() in allowed:
        return True
    source = f"{KSR.kx.get_srcip()}:{KSR.kx.get_srcport()}"
    log.notice(
        f"sbcauth: a web page of {word(origin)} may not open a WebSocket, source={source}; "
        "websocket_origins in sbcauth.yaml lists those that may\n"
    )
    return False
