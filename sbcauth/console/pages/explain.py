"""Explain: how a request that is pasted would be decided, step by step."""

from ipaddress import ip_address

from starlette.responses import Response

from sbcauth.console.visit import Visit
from sbcauth.monitoring.explain import Explanation
from sbcauth.monitoring.explain import explain as decide_and_tell
from sbcauth.monitoring.sip_message import NotARequest

LONGEST = 100 << 10
"""Bytes of a request as a form has it, where three stand for one."""


def explain(visit: Visit) -> Response:
    """Show the form, and the steps of what was pasted."""
    text = visit.form.get("request", "")
    source = visit.form.get("source", "").strip()
    found: Explanation | None = None
    problem = ""
    if visit.request.method == "POST":
        try:
            if source:
                source = str(ip_address(source))
            config = visit.console.config()
            with visit.console.alone():
                found = decide_and_tell(config, text, source or None, visit.now)
        except NotARequest as error:
            problem = f"There is {error}."
        except ValueError:
            problem = "The source is no IP address."
    return visit.page("explain.html", text=text, source=source, found=found, problem=problem)
