"""The external server: RADIUS settings."""

from dataclasses import dataclass, field
from enum import StrEnum


class RadiusAttributes(StrEnum):
    """How the digest is put into attributes: draft-sterman-aaa-sip-01, or RFC 5090."""

    DRAFT_STERMAN = "draft-sterman"
    RFC5090 = "rfc5090"


@dataclass(frozen=True, slots=True)
class RadiusServer:
    """A RADIUS server's address, UDP port and shared secret."""

    address: str
    port: int
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RadiusSettings:
    """The servers in the order in which they are asked; `timeout` and `dead_time` in seconds."""

    servers: tuple[RadiusServer, ...]
    attributes: RadiusAttributes = RadiusAttributes.DRAFT_STERMAN
    timeout: float = 1.0
    tries: int = 2
    dead_time: int = 30
