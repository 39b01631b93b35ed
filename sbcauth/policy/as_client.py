"""SBC as Client: the answer to a peer's challenge, without I/O.

RFC 3261 §22.3, RFC 7616 and RFC 8760, from the other side than `server` has it.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.credentials import Credentials, parse_parameters, scheme
from sbcauth.digest.response import expected_response, ha1, ha2
from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import BadCredentials
from sbcauth.policy.accounts import User
from sbcauth.policy.ip_groups import IPGroup

_SESSION = "-SESS"
_FIRST = "00000001"


class PeerChallenge(NamedTuple):
    """A challenge that we can answer; `qop` is the strongest that it offers, or empty.

    `session` tells that H(A1) is bound to the nonce: `MD5-sess` and its like (RFC 7616, 3.4.2).
    """

    realm: str
    nonce: str
    algorithm: Algorithm = Algorithm.MD5
    session: bool = False
    qop: str = ""
    opaque: str = ""
    stale: bool = False


@dataclass(frozen=True, slots=True)
class ClientAccount:
    """Who we are to a peer."""

    username: str
    ha1: str = field(repr=False)


def parse_challenge(text: str) -> PeerChallenge | None:
    """Return the challenge in a header field's value, or None where we cannot answer it.

    That is another scheme than Digest, an unknown algorithm, or a qop that is neither `auth` nor
    `auth-int`.
    """
    if scheme(text) != "digest":
        return None
    try:
        parameters = parse_parameters(text)
    except BadCredentials:
        return None
    get = parameters.get
    name = get("algorithm", "MD5").upper()
    offered = [qop.strip().lower() for qop in get("qop", "").split(",") if qop.strip()]
    qop = next((qop for qop in ("auth-int", "auth") if qop in offered), "")
    if (offered and not qop) or "realm" not in parameters or not get("nonce"):
        return None
    try:
        algorithm = Algorithm(name.removesuffix(_SESSION))
    except ValueError:
        return None
    return PeerChallenge(
        parameters["realm"],
        parameters["nonce"],
        algorithm,
        name.endswith(_SESSION),
        qop,
        get("opaque", ""),
        get("stale", "").lower() == "true",
    )


FindUser = Callable[[str, str, str], User | None]
"""Finds the user with an address of record: by IP Group, local user and realm."""


def account_for(
    challenge: PeerChallenge,
    sender: str,
    source: IPGroup,
    peer: IPGroup,
    find_user: FindUser,
    ours: Container[str] = (),
) -> ClientAccount | None:
    """Return who answers the challenge of `peer` to a request from `source`; None for nobody.

    The sender itself comes first, where User Info has it in the peer's realm; then the pair of
    the peer's IP Group, then that of the sender's, each in its `client_realms` alone. A realm that
    is `ours` (in lower case) is answered to nobody: whoever asks for it wants to get in here.
    """
    if challenge.realm.lower() in ours:
        return None
    user = find_user(source.name, sender, challenge.realm)
    known = user.ha1s.get(challenge.algorithm) if user else None
    if user and known:
        return ClientAccount(user.username, known)
    for group in (peer, source):
        username, realms = group.username_as_client, group.client_realms
        if username and (realms is None or challenge.realm in realms):
            password = group.password_as_client
            return ClientAccount(
                username, ha1(challenge.algorithm, username, challenge.realm, password)
            )
    return None


def strongest(
    challenges: Iterable[PeerChallenge], account: Callable[[PeerChallenge], ClientAccount | None]
) -> tuple[PeerChallenge, ClientAccount] | None:
    """Return the strongest challenge that somebody can answer, and who (RFC 8760, 2.4)."""
    for challenge in sorted(challenges, key=lambda c: c.algorithm.strength, reverse=True):
        if found := account(challenge):
            return challenge, found
    return None


def answer(
    challenge: PeerChallenge,
    account: ClientAccount,
    method: str,
    uri: str,
    cnonce: str,
    body: bytes = b"",
) -> str:
    """Return the credentials for a request, as the field value; `body` counts for `auth-int`."""
    fresh = bool(challenge.qop) or challenge.session
    credentials = Credentials(
        account.username,
        challenge.realm,
        challenge.nonce,
        uri,
        "",
        challenge.algorithm,
        challenge.qop,
        _FIRST if challenge.qop else "",
        cnonce if fresh else "",
        challenge.opaque,
    )
    key = account.ha1
    if challenge.session:
        key = challenge.algorithm.hash(to_bytes(f"{key}:{challenge.nonce}:{cnonce}"))
    response = expected_response(key, ha2(credentials, method, body), credentials)
    name = f"{challenge.algorithm}-sess" if challenge.session else challenge.algorithm
    return str(credentials._replace(response=response, algorithm=name))
