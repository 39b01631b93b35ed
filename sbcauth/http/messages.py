"""What a service is asked, and what it says: JSON, signed both ways.

The signatures are those of Standard Webhooks, so that a service needs no code of ours to check
them: `webhook-signature: v1,BASE64` of an HMAC-SHA256 over `ID.TIMESTAMP.BODY`. A reply is signed
with the id and the timestamp of its question, so that none can be played again for another.
"""

import base64
import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sbcauth.digest.algorithms import HASHES
from sbcauth.digest.credentials import Credentials
from sbcauth.digest.response import expected_response
from sbcauth.digest.text import to_bytes
from sbcauth.exceptions import BadCredentials, SbcAuthError
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.policy.request import Request

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
LONGEST_QUESTION = 3500
"""Bytes that fit into the pipe to the process that asks, as a whole."""
LONGEST_REPLY = 65536
"""Bytes of a reply that are read."""

_ASKED = ("username", "realm", "nonce", "uri", "response", "algorithm", "qop", "nc", "cnonce")


class UntrustedReply(SbcAuthError):
    """The reply is not what a service that knows the secret would send."""


def question(request: Request, credentials: Credentials) -> bytes:
    """Return the question about `credentials`, as JSON.

    Raises BadCredentials where JSON cannot carry a value, or the pipe the whole.
    """
    asked: dict[str, str] = {name: getattr(credentials, name) for name in _ASKED}
    asked["method"] = request.method
    asked["address_of_record"] = f"sip:{request.claimed_user}@{credentials.realm}"
    asked["source"] = request.source_address
    if credentials.protection == "auth-int":
        asked["body_hash"] = HASHES[credentials.algorithm](request.body).hexdigest()
    try:
        text = json.dumps(asked, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadCredentials("are not UTF-8, which a service that is asked by HTTP needs") from None
    if len(text) > LONGEST_QUESTION:
        raise BadCredentials(f"are longer than {LONGEST_QUESTION} bytes with what goes along")
    return text


def signed(secret: str, question_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the header fields of a question, or of the reply to it; `timestamp` is in seconds."""
    return {
        ID: question_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: f"v1,{_signature(secret, question_id, timestamp, body)}",
    }


def verdict(
    secret: str, sent: Mapping[str, str], headers: Mapping[str, str], body: bytes, asked: bytes
) -> Verdict:
    """Return what a service said.

    `sent` are the header fields of the question `asked`; `headers` and `body` are of the reply,
    which has either the verdict, or H(A1) for the algorithm of the question. Raises UntrustedReply.
    """
    expected = _signature(secret, sent[ID], int(sent[TIMESTAMP]), body)
    given = headers.get(SIGNATURE, "").split()
    if not any(hmac.compare_digest(f"v1,{expected}".encode(), one.encode()) for one in given):
        raise UntrustedReply("its reply is not signed with the shared secret")
    try:
        said: Any = json.loads(body)
        word, ha1 = said.get("verdict"), said.get("ha1")
    except (ValueError, AttributeError):
        raise UntrustedReply("its reply is no JSON object") from None
    if word in (Answer.ACCEPT, Answer.REJECT):
        return Verdict(Answer(word))
    if isinstance(ha1, str) and word is None:
        return Verdict(Answer.ACCEPT if _is_right(ha1.lower(), asked) else Answer.REJECT)
    raise UntrustedReply('its reply has neither "verdict": "accept" or "reject", nor "ha1"')


def _signature(secret: str, question_id: str, timestamp: int, body: bytes) -> str:
    content = f"{question_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(to_bytes(secret), content, sha256)).decode()


def _is_right(ha1: str, asked: bytes) -> bool:
    """Tell whether the response in a question was computed with this H(A1) (RFC 7616, 3.4.1)."""
    values: dict[str, str] = json.loads(asked)
    credentials = Credentials(**{name: values[name] for name in _ASKED})
    parts = [values["method"], credentials.uri]
    if "body_hash" in values:
        parts.append(values["body_hash"])
    ha2 = HASHES[credentials.algorithm](to_bytes(":".join(parts))).hexdigest()
    right = expected_response(ha1, ha2, credentials)
    return hmac.compare_digest(right, credentials.response)
