"""Who the network says the sender is (RFC 3325): told to whom may know, and kept from others."""

import KSR

from sbcauth.policy.assertions import hides, wants_privacy
from sbcauth.policy.dialogs import Side
from sbcauth.policy.ip_groups import IPGroupType
from sbcauth.policy.passages import proves
from sbcauth.service import Service
from sbcauth_door import removing
from sbcauth_door import request as ksr
from sbcauth_door.nodes import nodes

_REMOTE_PARTY_ID = "Remote-Party-ID"


def has_assertions() -> bool:
    """Tell whether the message says who the network says its sender is."""
    return KSR.hdr.is_present("P-Asserted-Identity") > 0 or KSR.hdr.is_present(_REMOTE_PARTY_ID) > 0


def tell_identity(service: Service, to: Side) -> None:
    """Have a branch of a first request say who sends it, to whom may know (RFC 3325)."""
    sender = service.ip_groups.by_name.get(ksr.text("avp(sbcauth_ip_group)"))
    receiver = service.ip_groups.by_name.get(to.ip_group)
    if receiver is None:
        return
    identity, private = ksr.text("avp(sbcauth_identity)"), is_private()
    if hides(sender, receiver, private=private):
        removing.remove_assertions()
    elif identity and receiver.type is IPGroupType.SERVER:
        KSR.hdr.append(f"P-Asserted-Identity: <{identity}>\r\n")


def keep_those_of_servers(service: Service) -> None:
    """Take out of an answer what a phone asserts, or a server under Privacy (RFC 3325)."""
    place = nodes.source()
    if place.node:
        return  # that node has done so
    group = service.ip_groups.likely_at(place.address, place.port, place.transport)
    receiver = service.ip_groups.by_name.get(ksr.text("avp(sbcauth_ip_group)"))
    hidden = receiver is not None and hides(group, receiver, private=is_private())
    if group is None or hidden or (group.type is IPGroupType.USER and proves(group)):
        KSR.hdr.remove("P-Asserted-Identity")
        KSR.hdr.remove(_REMOTE_PARTY_ID)


def is_private() -> bool:
    """Tell whether the sender asks for its identity to be kept private (RFC 3323)."""
    return wants_privacy(ksr.fields("Privacy"), ksr.fields(_REMOTE_PARTY_ID))
