"""Words: why a request goes on at all. Without one nothing is relayed, kept, or answered.

A digest that is judged well is worth nothing where other requests pass beside it. So whatever the
server relays, keeps, or answers out of a table of users or bindings, it does on one of these words,
which the log names.
"""

from enum import StrEnum


class Word(StrEnum):
    """On whose word a request goes on."""

    DIGEST = "digest"
    """Right credentials in this very request, or an external server's yes."""
    REGISTERED = "registered"
    """It comes from where its From user is registered."""
    PEER = "peer"
    """It comes from a server group, known by Proxy Set or rule."""
    DIALOG = "dialog"
    """It belongs to a dialog that another word let in, and goes from one party to the other."""
    CONFIGURED = "configured"
    """The administrator's configuration lets it pass unproved."""
