"""Whose request it is: by the token in its header, and never by a cookie.

A browser sends no such header of itself, so that no other site's page can have one sent.
"""

from starlette.requests import Request

from sbcauth.console.connections import source
from sbcauth.console.console import Console
from sbcauth.console.logins import LockedOut
from sbcauth.console.tokens import Token, given_token
from sbcauth.console.visit import Refused
from sbcauth.exceptions import Unavailable
from sbcauth.monitoring.log_line import NOTICE, record

_REALM = 'Bearer realm="sbcauth"'


def token_of(console: Console, request: Request, now: float) -> Token:
    """Return the token of a request (RFC 6750, 2.1); raises Refused, TokenError."""
    given = given_token(request.headers)
    if given is None:
        raise Refused(
            401, "Send a token: Authorization: Bearer TOKEN.", {"WWW-Authenticate": _REALM}
        )
    name, secret = given
    address = request.client.host if request.client else ""
    refused = Refused(
        401,
        "The token is wrong, or has been removed, or has expired.",
        {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
    )
    try:
        token = console.token_logins.log_in(name, secret, source(address), now)
    except LockedOut:
        token = None
        refused = Refused(429, "Too many attempts have failed.", {"Retry-After": "60"})
    except Unavailable as error:
        raise Refused(503, str(error), {"Retry-After": "1"}) from None
    if token is None:
        console.log(record(NOTICE, change="token-refused", by="-", source=address, token=name))
        raise refused
    return token
