"""What must not stand in Kamailio's log: bugs, and errors that nothing explains."""

import re
from collections.abc import Iterable

from kamailio import Server

ERROR = re.compile(r"^ *\d*\(\d+\) (?:ERROR|CRITICAL|ALERT|BUG|EMERG): .*$", re.M)
"""A line of Kamailio's at ERROR and above."""
MEANT = (
    r"tcp_main\.c.*tcpconn_1st_send\(\):.*refused",  # a phone that has hung up is called
    r"tm \[.*msg_send_buffer\(\): tcp_send failed",  # the same, as tm has it
    r"t_forward_nonack\(\): failure to add branches",  # the same, where it was the only Contact
    r"tcp_read_data\(\): ",  # a peer that reset its connection
    r"tcp_read_req\(\): ERROR: tcp_read_req: error reading",  # the same
    r"parse_to_uri\(\): failed to parse To uri",  # legal, but no place
    r"sip_msg_update_buffer\(\): new buffer is too large",  # a request that cannot become a query
    r"tcp_read_req\(\): error reading",  # the same, as 6.0 has it
    r"tcp_read_req\(\): read message too large",  # longer than any that is taken
    r"receive_fd\(\): EOF on \d",  # processes that end find their others gone
    r"notification_resp_callback_f\(\): not deleting notification peer",  # a node that is away
    r"tcp_read_req\(\): bad request, state=\d, error=\d buf:",  # what came over TCP is not SIP
)
"""Patterns of such lines that are meant to be there: each tells what a peer did.

A module whose peers do worse has ERRORS_MEANT, too; any other line fails its last test.
"""
BUGS = ("sbcauth: a bug", "Traceback", "SystemError", "UnicodeDecodeError")


def unexpected_errors(log: str, meant: Iterable[str] = ()) -> list[str]:
    """Return the lines of Kamailio's at ERROR and above that are not meant to be there."""
    patterns = [re.compile(pattern) for pattern in (*MEANT, *meant)]
    return [line for line in ERROR.findall(log) if not any(each.search(line) for each in patterns)]


def check_log(server: Server, meant: Iterable[str] | None = None) -> None:
    """Fail where the log tells of a bug, or has an error that is not meant, unless that is None."""
    log = server.log()
    for bug in BUGS:
        assert bug not in log
    if meant is not None:
        unexpected = unexpected_errors(log, meant)
        assert not unexpected, unexpected[:5]
