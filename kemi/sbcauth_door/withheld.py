"""Challenges in an answer that would be answered by what is good here: they are taken out."""

import re
import time

import KSR

from sbcauth.digest.credentials import parse_parameters
from sbcauth.exceptions import BadCredentials
from sbcauth.monitoring.log_line import NOTICE, record
from sbcauth.service import Service
from sbcauth_door import outcomes
from sbcauth_door import request as ksr

CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")
"""Phones answer either at 401 and 407 alike (pjsip); and who knows at what else."""


def withhold(service: Service, name: str) -> None:
    """Take challenges out of an answer that would be answered by what is good here.

    That is one with a nonce of ours, or in the realm in which we challenge the sender. `name` is
    the header field's. Without it a 401 is a refusal as any other.
    """
    source = ksr.text("avp(sbcauth_ip_group)")
    group = service.ip_groups.by_name.get(source)
    if group is not None and group.shadow:
        return None
    realm = service.dialogs.withholds_from(source)
    challenges = ksr.all_fields(name)
    if challenges is None:
        return _take_out(name, source, "")
    for field in challenges:
        try:
            parameters = parse_parameters(field)
        except BadCredentials:
            parameters = {}
        named = parameters.get("realm")
        asks_for_ours = realm is not None and (named is None or named.lower() == realm.lower())
        if asks_for_ours or _has_nonce_of_ours(service, field):
            return _take_out(name, source, named or "")
    return None


def _has_nonce_of_ours(service: Service, field: str) -> bool:
    """Tell whether a nonce of ours is anywhere in a challenge.

    Several may stand in one field (RFC 7235, 4.1), and phones read them as they like.
    """
    found = set(_MAY_BE_NONCE.findall(field.replace("\\", "")))
    return len(found) > _MOST_NONCES or any(service.has_minted(f, time.time()) for f in found)


_MAY_BE_NONCE = re.compile(r"(?<![\w-])[\w-]{40,64}(?![\w-])", re.ASCII)
_MOST_NONCES = 8


def _take_out(name: str, source: str, realm: str) -> None:
    """Take the challenges of one kind out of an answer, and write that."""
    KSR.hdr.remove(name)
    entry = record(
        NOTICE,
        client="withheld",
        ip_group=source,
        method=ksr.text("rm"),
        realm=realm,
        username="",
        call_id=ksr.text("ci"),
    )
    outcomes.log.write(entry)
