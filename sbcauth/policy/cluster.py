"""What a cluster puts in the place of what one server remembers alone."""

from typing import NamedTuple

from sbcauth.digest.authorities import Authorities
from sbcauth.policy.attempts import Attempts
from sbcauth.policy.reservations import Reservations


class Cluster(NamedTuple):
    """Whose nonces are whose, and what counts failures over all nodes."""

    authorities: Authorities
    attempts: Attempts
    reservations: Reservations
