"""The operations of the API: which function answers which method of which path."""

from sbcauth.console.accounts import Role
from sbcauth.console.api import requests, server, users
from sbcauth.console.api.asked import LONGEST_CONFIGURATION, LONGEST_REQUEST
from sbcauth.console.api.call import Operation

_ESCAPED = 2
"""JSON may write a character in more bytes than it has."""

OPERATIONS = (
    Operation("GET", "/status", server.status),
    Operation("GET", "/users", users.users),
    Operation("GET", "/users/{username}", users.user),
    Operation("PUT", "/users/{username}", users.put_user, Role.CHANGE, longest=128 << 10),
    Operation("PATCH", "/users/{username}", users.change_user, Role.CHANGE, longest=128 << 10),
    Operation("DELETE", "/users/{username}", users.remove_user, Role.CHANGE),
    Operation("GET", "/why/{username}", users.why),
    Operation("GET", "/refusals", requests.refusals),
    Operation("GET", "/registered", requests.registered),
    Operation("DELETE", "/registered/{username}", requests.drop_registered, Role.CHANGE),
    Operation("GET", "/lockouts", requests.lockouts),
    Operation("DELETE", "/lockouts", requests.lift_lockouts, Role.CHANGE),
    Operation("POST", "/explain", requests.explain, longest=_ESCAPED * LONGEST_REQUEST),
    Operation("GET", "/ip-groups", server.ip_groups),
    Operation("GET", "/classification", server.classification),
    Operation("GET", "/configuration/check", server.check_configuration),
    Operation(
        *("POST", "/configuration/check", server.check_text),
        longest=_ESCAPED * LONGEST_CONFIGURATION,
    ),
    Operation("POST", "/reload", server.reload, Role.CHANGE),
)
