"""The CSeq numbers of requests to a peer, which counts the answered challenges as well."""

import KSR

from sbcauth.policy.cseq import is_number
from sbcauth.service import Service
from sbcauth_door import request as ksr
from sbcauth_door.parties import key_of

_OF_DIALOG = 12 * 3600
_OF_REGISTRATION = 24 * 3600
_OF_REQUEST = 600
"""Seconds that the CSeq numbers of a dialog, of a Call-ID that registers, and of any other live."""


def acknowledge(service: Service) -> None:
    """Give an ACK the CSeq that the peer knows its INVITE by."""
    own = int(ksr.text("cs"))
    sent = service.cseqs.of_invite(dialog_key(), own)
    if sent != own:
        set_cseq(sent, "ACK")


def forget_call(service: Service) -> None:
    """Forget the numbers of a call that the peer ends."""
    service.cseqs.forget(dialog_key(backwards=True))


def number(service: Service, peer: str, *, again: bool) -> None:
    """Set the CSeq, and the RAck of a PRACK, to the numbers that the peer counts by."""
    own, method = int(ksr.text("cs")), ksr.text("rm")
    within_dialog = bool(ksr.text("tt"))
    if within_dialog:
        key, lifetime = dialog_key(), _OF_DIALOG
    elif peer:
        key = key_of("request", ksr.text("ci"), ksr.text("fu"), peer)
        lifetime = _OF_REGISTRATION if method in ("REGISTER", "PUBLISH") else _OF_REQUEST
    else:
        return
    sent = service.cseqs.send(key, own, invite=method == "INVITE", again=again, lifetime=lifetime)
    if sent != own:
        set_cseq(sent, method)
    if method == "PRACK":
        _set_rack(service, key)


def _set_rack(service: Service, key: str) -> None:
    """Set the CSeq in a PRACK's RAck to that of the INVITE it is about (RFC 3262, 7.2)."""
    response, _, request = ksr.text("hdr(RAck)").partition(" ")
    own, _, method = request.strip().partition(" ")
    if is_number(own) and (sent := service.cseqs.of_invite(key, int(own))) != int(own):
        KSR.hdr.insert_before(f"RAck: {response} {sent} {method}\r\n", "RAck")
        KSR.hdr.remove("RAck")


def learn(service: Service, status: int, method: str, own: int, sent: int) -> None:
    """Keep the numbers of a dialog that a reply opens, and forget those of one that it ends."""
    if not ksr.text("tt"):
        return
    if method == "BYE" and status >= 200 and status not in (401, 407):
        service.cseqs.forget(dialog_key())
    elif method in ("INVITE", "SUBSCRIBE", "REFER") and 100 < status < 300:
        invite = method == "INVITE"
        service.cseqs.learn(dialog_key(), own, sent, invite=invite, lifetime=_OF_DIALOG)


def set_cseq(number: int, method: str) -> None:
    """Set the CSeq, where it stands: a field that is added would come before the Via."""
    KSR.hdr.insert_before(f"CSeq: {number} {method}\r\n", "CSeq")
    KSR.hdr.remove("CSeq")


def dialog_key(*, backwards: bool = False) -> str:
    """Return the key of a dialog, as seen by the sender of its requests, or by the other side."""
    tags = (ksr.text("ft"), ksr.text("tt"))
    return key_of("dialog", ksr.text("ci"), *(reversed(tags) if backwards else tags))
