"""Registrations without a transaction, where kamailio.cfg keeps them itself.

A transaction would absorb a REGISTER that comes again, at a third of what all of it costs. Without
one, a REGISTER whose nonce count is used up is looked for where it must have left its trace: in the
binding that has its Call-ID and CSeq (RFC 3261, 10.3). If it is there, the same request has been
carried out. It then goes on without its Contact, as a query: the registrar answers with what is
registered and changes nothing, whatever else somebody may have made of the request.
"""

import KSR

from sbcauth.exceptions import Unavailable
from sbcauth_door import request as ksr

TABLE = ksr.definition("SBCAUTH_REGISTRAR")
"""The usrloc table in which kamailio.cfg keeps the registrations that we accept, if it does."""

_MODULES = ("registrar", "textopsx")
_PROFILE = "sbcauth"
_MOST_BINDINGS = 32


def check() -> None:
    """Raise Unavailable where kamailio.cfg lacks a module that this needs."""
    missing = [name for name in _MODULES if not hasattr(KSR, name)]
    if TABLE and missing:
        raise Unavailable(
            f"SBCAUTH_REGISTRAR needs the module {missing[0]}.so, loaded before app_python3.so"
        )


def has_carried_out(local_user: str, realm: str) -> bool:
    """Tell whether the registrar has a binding of the user by the very request at hand.

    `local_user` is as it stands in a URI.
    """
    aor = f"sip:{local_user}@{realm}"
    if KSR.registrar.reg_fetch_contacts(TABLE, aor, _PROFILE) < 0:
        return False
    try:
        request = KSR.kx.get_callid(), int(KSR.pv.get("$cs") or 0)
        bindings = min(KSR.pv.get(f"$(ulc({_PROFILE}=>count))") or 0, _MOST_BINDINGS)
        return any(_request_of(number) == request for number in range(bindings))
    except UnicodeDecodeError:
        return False
    finally:
        KSR.registrar.reg_free_contacts(_PROFILE)


def make_query() -> int:
    """Have the request ask for its bindings, and change none (RFC 3261, 10.2.3).

    Above zero it does. Below zero Kamailio has left it as it was: it would get too long, or has a
    Record-Route of ours by now. At zero it is not to be touched any more.
    """
    if KSR.textops.remove_hf("Contact") < 0:
        return -1
    changed: int = KSR.textopsx.msg_apply_changes()
    return -1 if changed > 0 and KSR.hdr.is_present("Contact") > 0 else changed


def _request_of(number: int) -> tuple[str, int]:
    """Return the Call-ID and CSeq of the request that a binding was last renewed by."""
    get = KSR.pv.get
    return (
        get(f"$(ulc({_PROFILE}=>callid)[{number}])"),
        int(get(f"$(ulc({_PROFILE}=>cseq)[{number}])") or 0),
    )
