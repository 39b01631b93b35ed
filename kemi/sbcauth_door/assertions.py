"""Who the network says the sender is (RFC 3325), and who has diverted a call (RFC 5806, 7044).

It is told to whom may know, and kept from others. Of a user goes on what is its own alone.
"""

import KSR

from sbcauth.policy.assertions import hides, wants_privacy
from sbcauth.policy.decision import Accept, Ask
from sbcauth.policy.identities import as_number, numbers_in
from sbcauth.policy.ip_groups import FromScreening, IPGroup, IPGroupType
from sbcauth.policy.request import Request
from sbcauth.policy.seals import Side
from sbcauth.service import Service
from sbcauth_door import removing, route_block, user_parts
from sbcauth_door import request as ksr
from sbcauth_door.dialog_seals import answering
from sbcauth_door.nodes import nodes

_DIVERSION = "Diversion"


def tell_identity(service: Service, to: Side) -> None:
    """Have a branch of a first request say who sends it, to whom may know (RFC 3325)."""
    sender = service.ip_groups.by_name.get(ksr.text("avp(sbcauth_ip_group)"))
    receiver = service.ip_groups.by_name.get(to.ip_group)
    if receiver is None:
        return
    if hides(sender, receiver, private=is_private()):
        removing.remove_assertions()
    elif receiver.type is IPGroupType.SERVER:
        assert_identity(ksr.text("avp(sbcauth_identity)"))


def assert_identity(uri: str) -> None:
    """Have the message say that its sender is this one, if that is known."""
    if uri:
        KSR.hdr.append(f"P-Asserted-Identity: <{uri}>\r\n")


def settle_within(service: Service, sender: Side, other: IPGroup, method: str) -> None:
    """Have a request within a dialog assert what its sender may, and the other party may know.

    What is the phone's own is added in the branch.
    """
    group = service.ip_groups.by_name[sender.ip_group]
    is_phone = group.asks and group.type is IPGroupType.USER
    if is_phone and method not in _DIVERTS_NOTHING:
        keep_diversions_of(group, sender.account, service)
    is_told = is_phone and other.type is IPGroupType.SERVER and method in _TELLS_IDENTITY
    if not is_told and not removing.has_assertions():
        return
    said = ksr.asserted()
    hidden = hides(group, other, private=is_private())
    if is_phone or hidden:
        removing.remove_assertions()
    if is_told and not hidden:
        said.append(as_number(ksr.text("fU")))
        route_block.set_identity(
            service.server.screening.number_of(group.name, sender.account, said), group.realm
        )


_TELLS_IDENTITY = ("INVITE", "UPDATE")
"""What changes who is shown to the other party of a call (RFC 4916)."""
_DIVERTS_NOTHING = ("ACK", "BYE")


def is_settled_in(status: int) -> bool:
    """Tell whether an answer has to say who answers, or says it already."""
    is_of_call = 199 < status < 300 and ksr.text("rm") in _TELLS_IDENTITY
    return is_of_call or removing.has_assertions() or KSR.hdr.is_present(_DIVERSION) > 0


def settle_answer(service: Service) -> None:
    """Have an answer assert what who answers may, and who gets it may know (RFC 3325).

    A phone is known to servers by a number of its own.
    """
    place = nodes.source()
    if place.node:
        return  # that node has done so
    side = answering(service)
    group = service.ip_groups.by_name.get(side.ip_group) if side else None
    if group is None:
        group = service.ip_groups.likely_at(place.address, place.port, place.transport)
    receiver = service.ip_groups.by_name.get(ksr.text("avp(sbcauth_ip_group)"))
    hidden = receiver is not None and hides(group, receiver, private=is_private())
    said = ksr.asserted()
    is_phone = group is not None and group.asks and group.type is IPGroupType.USER
    if group is None or hidden or is_phone:
        removing.remove_assertions()
    if side is None or group is None or not is_phone:
        return
    numbers = numbers_in(ksr.fields(_DIVERSION))
    if numbers and not service.server.screening.are_of(group.name, side.account, numbers):
        KSR.hdr.remove(_DIVERSION)
    if receiver and receiver.type is IPGroupType.SERVER and not hidden:
        said.append(as_number(ksr.text("tU")))
        number = service.server.screening.number_of(group.name, side.account, said)
        assert_identity(f"sip:{user_parts.escaped(number)}@{group.realm}" if number else "")


def keep_own_diversions(decision: Accept | Ask, request: Request, service: Service) -> None:
    """Take out who has diverted a call, where that is not the account that is proved."""
    group = service.ip_groups.by_name[decision.ip_group]
    if group.from_screening is FromScreening.OFF:
        return
    username, said = decision.username, request.from_user
    for name in ksr.diversions():
        numbers = ksr.diverting(name)
        if not numbers or not service.server.screening.are_own(group.name, username, said, numbers):
            KSR.hdr.remove(name)


def keep_diversions_of(group: IPGroup, account: str, service: Service) -> None:
    """Take out who has diverted a call, where that is not this account of a user."""
    is_users = group.asks and group.type is IPGroupType.USER
    if not is_users or group.from_screening is FromScreening.OFF:
        return
    for name in ksr.diversions():
        numbers = ksr.diverting(name)
        if not numbers or not service.server.screening.are_of(group.name, account, numbers):
            KSR.hdr.remove(name)


def is_private() -> bool:
    """Tell whether the sender asks for its identity to be kept private (RFC 3323)."""
    return wants_privacy(ksr.fields("Privacy"), ksr.fields("Remote-Party-ID"))
