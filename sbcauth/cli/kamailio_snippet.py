"""`sbcauth kamailio-snippet`: the lines that an existing kamailio.cfg needs."""

import re
from typing import Annotated

import typer

from sbcauth.installation import script
from sbcauth.kamailio_snippet import snippet


def kamailio_snippet(
    context: typer.Context,
    radius_route: Annotated[
        str,
        typer.Option(
            help="For `server_auth_mode: radius`: the route in which the requests go on.",
            metavar="ROUTE",
        ),
    ] = "",
) -> None:
    """Print what an existing kamailio.cfg has to include, with the paths of this installation.

    Example: sbcauth --config /etc/sbcauth/sbcauth.yaml kamailio-snippet > sbcauth.cfg
    """
    if radius_route and not re.fullmatch(r"\w+", radius_route):
        raise typer.BadParameter(f"{radius_route!a} is no name of a route")
    text = snippet(context.obj.resolve(), script(), radius_route=radius_route)
    print(text, end="")
