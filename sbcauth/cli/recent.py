"""`sbcauth recent`: the last refusals, whoever they were."""

import os
import time
from typing import Annotated

import typer

from sbcauth.cli import completion
from sbcauth.cli.latest import Log, Unit, outcomes, print_advice, print_outcomes, warn_of_user_info
from sbcauth.cli.lockout import source_or_prefix
from sbcauth.cli.options import AsJSON, Socket, have_ip_group, rpc
from sbcauth.cli.output import print_json
from sbcauth.config.load import load
from sbcauth.monitoring.refusals import MOST_READ, is_refusal, with_advice
from sbcauth.monitoring.why import Search
from sbcauth.policy.decision import Reason

_NOT_SEEN = (
    "If {source} gets no answer at all, its requests do not come this far: `nft list ruleset` and "
    "`fail2ban-client banned` show what is dropped, `ss -lnp` where the server listens."
)


def _reason(text: str | None) -> str | None:
    if text is not None and text not in {*Reason}:
        raise typer.BadParameter(f"{text!a} is no reason: {', '.join(Reason)}")
    return text


def recent(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Option(callback=source_or_prefix, help="From this address or prefix.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(callback=_reason, help="For this reason, as the log has it.")
    ] = None,
    ip_group: Annotated[
        str | None,
        typer.Option("--ip-group", autocompletion=completion.ip_groups, help="Of this IP Group."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Of this user name, or user of From.")] = None,
    log: Log = None,
    unit: Unit = None,
    last: Annotated[int, typer.Option(min=1, help="How many outcomes are shown.")] = 20,
    socket: Socket = None,
    as_json: AsJSON = False,
) -> None:
    """Show the last refusals, also of requests that named nobody we know, and what to do.

    Example: sbcauth recent --source 203.0.113.9
    """
    config = load(context.obj, os.environ)
    server = rpc(context, socket)
    search = Search(user, ip_group, source, reason)
    found = outcomes(config, server, search, MOST_READ if reason is None else last, log, unit)
    if reason is None:
        found = [each for each in found if is_refusal(each)]
    if not found:
        have_ip_group(context, ip_group)
    found, what_to_do = with_advice(
        config, server, found[-last:], time.time(), user, warn_of_user_info
    )
    if as_json:
        print_json({"outcomes": [each._asdict() for each in found], "advice": what_to_do})
        return
    if not found:
        print("Nothing has been refused recently that fits; --log FILE reads another log.")
        if source is not None:
            print(_NOT_SEEN.format(source=source))
        return
    print_outcomes(found, with_user=True)
    print_advice(what_to_do)
