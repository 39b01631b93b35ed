"""SBC as Client: the routing functions that answer a peer's challenge in the sender's stead.

The peer's 401 or 407 becomes a 599 that never leaves Kamailio: it ends the branch, the branch is
tried again with credentials and a higher CSeq, and the sender sees neither. What one function
leaves for the next is kept in AVPs of the transaction, one for each branch.
"""

import functools
import json
import time
from collections.abc import Callable
from secrets import token_hex
from typing import NamedTuple
from urllib.parse import unquote

import KSR

from sbcauth.config.reload import Reloaded
from sbcauth.monitoring.log_line import INFO, NOTICE, record
from sbcauth.policy.as_client import (
    ClientAccount,
    PeerChallenge,
    answer,
    parse_challenge,
    strongest,
)
from sbcauth.service import Service
from sbcauth_door import client_cseq, outcomes, removing
from sbcauth_door import log as sbcauth_log
from sbcauth_door import request as ksr

GO_ON, NOTHING = 1, -1
_CHALLENGE_HELD = 599
_TRIES = 2
"""Times that a request is answered for: once, and once more where the peer says `stale=true`."""


class Sent(NamedTuple):
    """What a branch was sent as: to which peer, by which way, with how many answers so far."""

    peer: str
    next_hop: str
    socket: str
    answers: int


class Held(NamedTuple):
    """A challenge that was kept from the sender, and that the next try answers."""

    peer: str
    status: int
    challenge: str
    answers: int


def routing_function(function: Callable[..., int]) -> Callable[..., int]:
    """Have a function return an int whatever happens: Kamailio loses the request otherwise."""

    @functools.wraps(function)
    def guarded(self: "ClientRoutes", msg: object = None, *_: object) -> int:
        try:
            return function(self, self.services.value(time.time()))
        except Exception:
            sbcauth_log.bug()
            return NOTHING

    return guarded


class ClientRoutes:
    """The routing functions of SBC as Client; see docs/sbc-as-client.md for where they stand."""

    def __init__(self, services: Reloaded[Service]) -> None:
        self.services = services

    @routing_function
    def client_branch(self, service: Service) -> int:
        """Give a request that leaves for a peer its CSeq there, and credentials where due."""
        held = _take_answer()
        uri = ksr.text("du") or ksr.text("ru")
        peer = service.ip_groups.peer_of(uri)
        if peer is None or peer.name != ksr.text("avp(sbcauth_peer)"):
            held = None  # an answer never goes to anybody else
        elif held is None or held.peer == peer.name:
            sent = Sent(peer.name, ksr.text("du"), ksr.text("fs"), held.answers if held else 0)
            _keep(f"sbcauth_sent_{ksr.text('T_branch_idx')}", sent)
        else:
            held = None
        client_cseq.number(service, peer.name if peer else "", again=held is not None)
        if held:
            _answer(service, held)
        return GO_ON

    @routing_function
    def client_reply(self, service: Service) -> int:
        """Give the sender its own CSeq back, and hold a challenge that we can answer."""
        status, sent = int(ksr.text("rs")), int(ksr.text("cs"))
        own, method = int(ksr.text("T_req($cs)")), ksr.text("rm")
        if own != sent:
            client_cseq.set_cseq(own, method)
            client_cseq.learn(service, status, method, own, sent)
        if status in (401, 407) and (branch := _sent()):
            if KSR.tm.t_is_canceled() > 0:
                for name in _HEADERS[status]:
                    KSR.hdr.remove(name)
                KSR.textopsx.change_reply_status(487, "Request Terminated")
            else:
                _hold(service, status, branch)
        return GO_ON

    @routing_function
    def client_retry(self, service: Service) -> int:
        """Prepare the branch whose challenge was held to be sent again."""
        branch = _sent()
        held = ksr.text(f"avp(sbcauth_held_{ksr.text('T_branch_idx')})")
        if not branch or not held or KSR.tmx.t_reuse_branch() < 0:
            return NOTHING
        if branch.next_hop:
            KSR.pv.sets("$du", branch.next_hop)
        else:
            KSR.pv.unset("$du")
        if branch.socket:
            KSR.pv.sets("$fs", branch.socket)
        KSR.pv.sets("$avp(sbcauth_answer)", held)
        return GO_ON

    @routing_function
    def client_within_dialog(self, service: Service) -> int:
        """Give an ACK the CSeq of its INVITE; forget a call that its other side has ended.

        For a route block of one's own that does not call `within_dialog`, which does it as well.
        """
        if ksr.text("rm") == "ACK":
            client_cseq.acknowledge(service)
        else:
            client_cseq.forget_call(service)
        return GO_ON

    @routing_function
    def client_late_reply(self, service: Service) -> int:
        """Give a 2xx that is sent again, after its transaction has ended, its CSeq back."""
        sent = int(ksr.text("cs"))
        own = service.cseqs.invite_of(client_cseq.dialog_key(), sent)
        if own != sent:
            client_cseq.set_cseq(own, ksr.text("rm"))
        return GO_ON


_HEADERS = {
    401: ("WWW-Authenticate", "Authorization"),
    407: ("Proxy-Authenticate", "Proxy-Authorization"),
}


def _hold(service: Service, status: int, sent: Sent) -> None:
    """Hold the strongest challenge that we can answer; any other reply goes to the sender."""
    peer = service.ip_groups.peer_at(ksr.text("si"), int(ksr.text("sp")))
    if peer is None or peer.name != sent.peer:
        return _log("stranger", sent.peer)
    texts = ksr.fields(_HEADERS[status][0])
    challenges = {found: text for text in texts if (found := parse_challenge(text))}
    chosen = strongest(challenges, lambda each: _account(service, each, sent.peer))
    if chosen is None:
        return _log("no-credentials" if challenges else "unsupported-challenge", sent.peer)
    challenge, _ = chosen
    if sent.answers and not (challenge.stale and sent.answers < _TRIES):
        return _log("refused", sent.peer, challenge.realm)
    held = Held(sent.peer, status, challenges[challenge], sent.answers + 1)
    _keep(f"sbcauth_held_{ksr.text('T_branch_idx')}", held)
    KSR.textopsx.change_reply_status(_CHALLENGE_HELD, "Challenge Held")
    return None


def _answer(service: Service, held: Held) -> None:
    """Add the credentials that answer a challenge, in place of the sender's for that realm."""
    challenge = parse_challenge(held.challenge)
    account = _account(service, challenge, held.peer) if challenge else None
    if challenge is None or account is None:
        return  # taken away since the challenge was held
    name = _HEADERS[held.status][1]
    given = ksr.fields(name)
    others = [value for value in given if not removing.is_for(challenge.realm, value)]
    if len(others) < len(given):
        KSR.hdr.remove(name)
        for value in others:
            KSR.hdr.append(f"{name}: {value}\r\n")
    body = ksr.body() if challenge.qop == "auth-int" else b""
    method, uri = ksr.text("rm"), ksr.text("ru")
    credentials = answer(challenge, account, method, uri, token_hex(8), body)
    KSR.hdr.append(f"{name}: {credentials}\r\n")
    _log("answered", held.peer, challenge.realm, account.username)


def _account(service: Service, challenge: PeerChallenge, peer: str) -> ClientAccount | None:
    """Return who answers a challenge for the sender of this request."""
    user = "tU" if ksr.text("rm") == "REGISTER" else "fU"
    sender = ksr.text("avp(sbcauth_local_user)") or ksr.text(user)
    sender = unquote(sender, errors="surrogateescape")
    source = ksr.text("avp(sbcauth_ip_group)")
    return service.account_for(challenge, sender, source, peer, time.time())


def _sent() -> Sent | None:
    """Return what this branch was sent as, where it went to a peer that we answer."""
    text = ksr.text(f"avp(sbcauth_sent_{ksr.text('T_branch_idx')})")
    return Sent(*json.loads(text)) if text else None


def _take_answer() -> Held | None:
    """Return the challenge that this branch is to answer, which is answered once."""
    text = ksr.text("avp(sbcauth_answer)")
    if not text:
        return None
    KSR.pv.unset("$avp(sbcauth_answer)")
    return Held(*json.loads(text))


def _keep(name: str, value: Sent | Held) -> None:
    KSR.pv.sets(f"$avp({name})", json.dumps(value))


def _log(outcome: str, peer: str, realm: str = "", username: str = "") -> None:
    """Write what became of a peer's challenge; an answered one is the usual case."""
    usual = outcome == "answered"
    if usual and not outcomes.log.writes_all:
        return
    outcomes.log.write(
        record(
            INFO if usual else NOTICE,
            client=outcome,
            ip_group=peer,
            method=ksr.text("rm"),
            realm=realm,
            username=username,
            call_id=ksr.text("ci"),
        )
    )
