"""Routing by cfgengine "python", with sbcauth in it: registrations, and calls between users."""

import sys
from pathlib import Path

import KSR

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # the folder kemi/

import sbcauth_kemi
from sbcauth_door.worker import Worker

GO_ON = 1


class Router:
    """Kamailio's routing functions; each returns an int, whatever happens."""

    def __init__(self, sbcauth: Worker) -> None:
        self.sbcauth = sbcauth

    def child_init(self, rank: int) -> int:
        """Start in a process of its own."""
        return self.sbcauth.child_init(rank)

    def ksr_reply_route(self, msg: object) -> int:
        """Let answers pass that somebody waits for, and a 2xx that comes to a call again."""
        if KSR.tm.t_check_trans() < 0 and self.sbcauth.late_reply(msg) < 0:
            KSR.set_drop()
        return GO_ON

    def ksr_branch_sealed(self, msg: object) -> int:
        """Seal a request that leaves."""
        self.sbcauth.dialog_branch(msg)
        return GO_ON

    def ksr_onreply_sealed(self, msg: object) -> int:
        """Seal an answer, and withhold a challenge that asks for what is good here."""
        self.sbcauth.dialog_reply(msg)
        return GO_ON

    def ksr_onsend_route(self, msg: object) -> int:
        """Let messages leave."""
        return GO_ON

    def ksr_request_route(self, msg: object) -> int:
        """Route a request."""
        try:
            self.route(msg)
        except Exception as error:  # Kamailio would leave the request unanswered
            KSR.err(f"routing: {error!r}\n")
            KSR.sl.send_reply(500, "Server Internal Error")
        return GO_ON

    def route(self, msg: object) -> None:
        """Answer or relay a request."""
        if KSR.maxfwd.process_maxfwd(10) < 0:
            KSR.sl.send_reply(483, "Too Many Hops")
            return
        if KSR.sanity.sanity_check(17895, 7) < 0:
            return
        KSR.force_rport()
        if KSR.is_CANCEL():
            if KSR.tm.t_check_trans() > 0 and self.sbcauth.may_cancel(msg) > 0:
                KSR.tm.t_relay()
            else:
                KSR.sl.send_reply(481, "Call/Transaction Does Not Exist")
            return
        if not KSR.is_ACK():
            if KSR.tmx.t_precheck_trans() > 0:
                KSR.tm.t_check_trans()
                return
            if KSR.tm.t_check_trans() == 0:
                return
        elif KSR.tm.t_check_trans() == 0:
            return  # the ACK to a refusal
        if KSR.is_ACK() or KSR.siputils.has_totag() > 0:
            if self.sbcauth.within_dialog(msg) > 0:  # where it goes is set; else it ends here
                self.relay()
        elif self.sbcauth.authenticate(msg) > 0:  # else sbcauth has answered it
            self.initial()

    def relay(self) -> None:
        """Send a request on, sealed where it begins a dialog or changes one."""
        if KSR.is_method_in("ISRNU"):  # INVITE, SUBSCRIBE, REFER, NOTIFY, UPDATE
            KSR.tm.t_on_branch("ksr_branch_sealed")
        KSR.tm.t_on_reply("ksr_onreply_sealed")
        if KSR.tm.t_relay() < 0:
            KSR.sl.send_reply(503, "Next Hop Unreachable")

    def initial(self) -> None:
        """Keep a registration, or find the user who is called; nobody does without a word."""
        word = KSR.pv.gete("$avp(sbcauth_word)")
        if not word or (KSR.is_REGISTER() and word not in ("digest", "configured")):
            if not KSR.is_ACK():
                KSR.sl.send_reply(403, "Forbidden")
            return
        KSR.hdr.remove("Route")
        realm = KSR.pv.gete("$avp(sbcauth_realm)")
        if KSR.is_REGISTER():
            user = KSR.pv.gete("$avp(sbcauth_local_user)")
            KSR.pv.sets("$avp(received)", KSR.pv.get("$su"))  # whatever its Contact says
            KSR.registrar.save_uri("location", 0, f"sip:{user}@{realm}")
            return
        user = KSR.pv.gete("$rU")
        KSR.pv.sets("$ru", f"sip:{user}@{realm}")
        if not user or KSR.registrar.lookup("location") < 0:
            KSR.sl.send_reply(404, "Not Found")
        else:
            self.relay()


def mod_init() -> Router:
    """Return the object whose methods are Kamailio's routing functions."""
    return Router(sbcauth_kemi.mod_init())
