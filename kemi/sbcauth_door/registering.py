"""The routing functions around the registrar, and for what is refused before any decision."""

import functools
import time
from collections.abc import Callable
from typing import Any

import KSR

from sbcauth.config.reload import Reloaded
from sbcauth.exceptions import Unavailable
from sbcauth.policy.decision import Drop, Reason, Reject
from sbcauth.policy.identities import as_number
from sbcauth.policy.unproved import unescaped
from sbcauth.service import Route, Service
from sbcauth_door import log as sbcauth_log
from sbcauth_door import outcomes, registrar, registration_limits, replies, user_parts
from sbcauth_door import request as ksr
from sbcauth_door.current import read_request

GO_ON, ANSWERED, NOT_FOUND = 1, 0, -1


def answering(function: Callable[[Any, Service, str], int]) -> Callable[..., int]:
    """Have a function return an int whatever happens; a request that meets a bug gets 500."""

    @functools.wraps(function)
    def guarded(self: Any, msg: object = None, argument: str = "", *_: object) -> int:
        try:
            return function(self, self.services.value(time.time()), argument)
        except Exception as error:
            status, phrase = 500, "Server Internal Error"
            if isinstance(error, Unavailable):
                status, phrase = error.status, error.phrase
            else:
                sbcauth_log.bug()
            KSR.sl.send_reply(status, phrase)
            return ANSWERED

    return guarded


class RegistrarRoutes:
    """The routing functions of a route block that keeps registrations by `save()`."""

    services: Reloaded[Service]

    @answering
    def registration(self, service: Service, aor: str) -> int:
        """Refuse a REGISTER that cannot be kept as it is; else get the registrar ready for it.

        `aor` is the address of record, without its scheme.
        """
        group = service.ip_groups.by_name[ksr.text("avp(sbcauth_ip_group)")]
        username = ksr.text("avp(sbcauth_username)")
        refusal = registrar.refusal(group, username, aor.rpartition("@")[0])
        if refusal is None and not registration_limits.has_room_for(aor, group):
            refusal = Reject(403, "Forbidden", Reason.TOO_MANY_USERS, group.name, username)
        if refusal:
            outcomes.report(refusal, read_request())
            replies.refuse(refusal)
            return ANSWERED
        registrar.settle_path(group)
        registration_limits.set_limits(group)
        return GO_ON

    @answering
    def called_user(self, service: Service, _: str) -> int:
        """Tell the route block who is called, as the registrar knows him: in UTF-8, unescaped.

        Nobody has a name that is no text.
        """
        user = user_parts.escaped(unescaped(ksr.text("rU")))
        if not user_parts.is_text(user):
            return NOT_FOUND
        KSR.pv.sets("$var(called)", user)
        return GO_ON

    @answering
    def called_number(self, service: Service, _: str) -> int:
        """Tell whether one of an account's identities is called, and by which address to find it.

        The account sees the number that was called, so that it can tell which of its own it is.
        """
        route = service.routes[ksr.text("avp(sbcauth_ip_group)"), False]
        realms = route.realms_of(ksr.text("rd"))
        dialled = ksr.text("rU")
        found = service.account_called(as_number(dialled), realms, time.time())
        if found is None:
            return NOT_FOUND
        local_user, realm = found
        KSR.pv.sets("$var(called)", f"{user_parts.escaped(local_user)}@{realm}")
        KSR.pv.sets("$avp(sbcauth_dialled)", dialled)
        return GO_ON

    @answering
    def contact(self, service: Service, _: str) -> int:
        """Tell whether a registered Contact is called, and have the request go there."""
        route = service.routes[ksr.text("avp(sbcauth_ip_group)"), False]
        found = registrar.find_contact(route.reached) and _is_in_reach(route)
        return GO_ON if found else NOT_FOUND

    @answering
    def in_reach(self, service: Service, _: str) -> int:
        """Tell whether who was looked up is of an IP Group that the sender's reaches."""
        route = service.routes[ksr.text("avp(sbcauth_ip_group)"), False]
        return GO_ON if _is_in_reach(route) else NOT_FOUND

    @answering
    def make_room(self, service: Service, aor: str) -> int:
        """Take one Contact of an address of record away for one that is new."""
        group = service.ip_groups.by_name[ksr.text("avp(sbcauth_ip_group)")]
        return GO_ON if registrar.make_room(f"sip:{aor}", group.max_contacts) else ANSWERED

    @answering
    def registered(self, service: Service, aor: str) -> int:
        """Note who is registered, in an IP Group that has a limit."""
        registration_limits.note_registered(aor, ksr.text("avp(sbcauth_ip_group)"))
        return GO_ON

    @answering
    def not_kept(self, service: Service, status: str) -> int:
        """Write the line of what was let in and refused by the registrar, with this status."""
        ip_group, username = ksr.text("avp(sbcauth_ip_group)"), ksr.text("avp(sbcauth_username)")
        sent = int(status) if status.isdecimal() else 0
        outcomes.report(Reject(sent, "", Reason.NOT_KEPT, ip_group, username), read_request())
        return GO_ON

    @answering
    def refuse_early(self, service: Service, status: str) -> int:
        """Say whether what is refused undecided gets its answer, and write its line.

        It is refused with this status.
        """
        request = read_request(has_transaction=True)
        decision = service.bad_request(request, int(status))
        outcomes.report(decision, request)
        return ANSWERED if isinstance(decision, Drop) else GO_ON


def _is_in_reach(route: Route) -> bool:
    """Tell whether no branch leads to a phone of an IP Group that the route does not reach.

    A binding says whose it is beside where it is reached. One that does not, since the names were
    too long, is out of reach where it could be of such an IP Group.
    """
    if not route.out_of_reach:
        return True
    uris = [ksr.text("du")]
    uris += (
        ksr.text(f"(branch(dst_uri)[{n}])") for n in range(int(ksr.text("branch(count)") or 0))
    )
    groups = (uri.partition(";g=")[2].partition(";")[0] for uri in uris)
    return all(name and _name_of(name) not in route.out_of_reach for name in groups)


def _name_of(digits: str) -> str:
    """Return the IP Group that stands in hexadecimal digits in a binding."""
    try:
        return bytes.fromhex(digits).decode("utf-8", "surrogateescape")
    except ValueError:
        return ""
