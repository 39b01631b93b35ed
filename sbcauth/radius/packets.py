"""Access-Requests and their replies on the wire; pyrad does the protocol (RFC 2865, RFC 3579)."""

from secrets import randbelow, token_bytes

from pyrad.packet import AccessAccept, AccessReject, AuthPacket, PacketError

from sbcauth.exceptions import SbcAuthError
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.radius.attributes import attributes_in


class UntrustedReply(SbcAuthError):
    """A datagram that is no reply of the server that was asked, or cannot prove to be one."""


class AccessRequest:
    """One Access-Request to one server; `datagram` is the same however often it is sent.

    It carries a Message-Authenticator, before all else, and takes no reply without one: whoever
    sits in between could make an Access-Accept of an Access-Reject (BlastRADIUS, CVE-2024-3596).
    """

    def __init__(self, attributes: bytes, secret: str) -> None:
        self._packet = AuthPacket(
            id=randbelow(256), secret=secret.encode(), authenticator=token_bytes(16)
        )
        for number, value in attributes_in(attributes):
            self._packet.setdefault(number, []).append(value)
        self._packet.add_message_authenticator()
        self.datagram: bytes = self._packet.RequestPacket()

    def verdict(self, datagram: bytes) -> Verdict:
        """Return what the server says in `datagram`; raises UntrustedReply."""
        try:
            reply = self._packet.CreateReply(packet=datagram)
        except PacketError as error:
            raise UntrustedReply(f"a reply that cannot be read ({error})") from None
        if not self._packet.VerifyReply(reply, enforce_ma=True):
            if self._packet.VerifyReply(reply):
                raise UntrustedReply("a reply without Message-Authenticator")
            raise UntrustedReply("a reply not signed with our shared secret")
        if reply.code in _ANSWERS:
            return Verdict(_ANSWERS[reply.code])
        return Verdict(Answer.NONE, f"a reply of code {reply.code} is no verdict")


_ANSWERS = {AccessAccept: Answer.ACCEPT, AccessReject: Answer.REJECT}
