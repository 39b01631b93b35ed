"""A REGISTER that comes again, and that no transaction absorbs.

A transaction would absorb a REGISTER that comes again, at a third of what all of it costs. Without
one, a REGISTER whose nonce count is used up is looked for where it must have left its trace: in the
binding that has its Call-ID and CSeq (RFC 3261, 10.3). If it is there, the same request has been
carried out. It then goes on without its Contact, as a query: the registrar answers with what is
registered and changes nothing, whatever else somebody may have made of the request.
"""

import KSR

from sbcauth.policy.places import Place
from sbcauth_door.bindings import PROFILE, fetched, place_of_binding
from sbcauth_door.nodes import nodes


def has_carried_out(local_user: str, realm: str) -> bool:
    """Tell whether the registrar has a binding of the user by the very request at hand.

    It comes from where the binding was made, or by the Path of an edge proxy: who has overheard it
    elsewhere is told no Contacts. What another node of the cluster has carried out, it answers
    itself: each request is accepted once. `local_user` is as it stands in a URI.
    """
    aor = f"sip:{local_user}@{realm}"
    try:
        request = KSR.kx.get_callid(), int(KSR.pv.get("$cs") or 0)
        return any(_request_of(n) == request and _is_from_here(n) for n in fetched(aor))
    except UnicodeDecodeError:
        return False


def make_query() -> int:
    """Have the request ask for its bindings, and change none (RFC 3261, 10.2.3).

    Above zero it does. Below zero Kamailio has left it as it was: it would get too long, or has a
    Record-Route of ours by now. At zero it is not to be touched any more.
    """
    if KSR.textops.remove_hf("Contact") < 0:
        return -1
    changed: int = KSR.textopsx.msg_apply_changes()
    return -1 if changed > 0 and KSR.hdr.is_present("Contact") > 0 else changed


def _is_from_here(number: int) -> bool:
    """Tell whether the request comes from where a binding was made; any may by its Path.

    A binding that was made at another node has no socket of this one.
    """
    if KSR.pv.get(f"$(ulc({PROFILE}=>path)[{number}])"):
        return nodes.cluster is None or bool(KSR.pv.get(f"$(ulc({PROFILE}=>socket)[{number}])"))
    made_at = place_of_binding(number, PROFILE)
    source = Place.of(KSR.kx.get_proto(), KSR.kx.get_srcip(), KSR.kx.get_srcport())
    return made_at is not None and not made_at.node and made_at.admits(source)


def _request_of(number: int) -> tuple[str, int]:
    """Return the Call-ID and CSeq of the request that a binding was last renewed by."""
    get = KSR.pv.get
    return (
        get(f"$(ulc({PROFILE}=>callid)[{number}])"),
        int(get(f"$(ulc({PROFILE}=>cseq)[{number}])") or 0),
    )
