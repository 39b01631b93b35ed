"""The settings of a cluster in sbcauth.yaml: `cluster`."""

import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator

from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.config import values
from sbcauth.config.mappings import Strict

_NODE = re.compile(r"sip:(\[[0-9a-f:.]+\]|[0-9.]+):([0-9]{1,5})", re.IGNORECASE | re.ASCII)


def node_address(value: Any) -> NodeAddress:
    """Return the address of a node: a SIP URI of an IP address and a port, for UDP."""
    match = _NODE.fullmatch(value) if isinstance(value, str) else None
    if match and 0 < int(match[2]) < 65536:
        with suppress(ValueError):
            return NodeAddress(str(ip_address(match[1].strip("[]"))), int(match[2]))
    raise ValueError(f"{values.shown(value)} is not a node's address, such as sip:10.0.0.11:5090")


def node_addresses(value: Any) -> tuple[NodeAddress, ...]:
    """Return the addresses of nodes; one may stand without a list."""
    return tuple(map(node_address, value if isinstance(value, list) else [value]))


class ClusterFileSettings(Strict):
    """The keys of `cluster`."""

    node: Annotated[int, values.number(1, 127)]
    address: (
        Annotated[NodeAddress, BeforeValidator(node_address, json_schema_input_type=str)] | None
    ) = None
    peers: Annotated[
        tuple[NodeAddress, ...],
        BeforeValidator(node_addresses, json_schema_input_type=str | list[str]),
    ] = ()

    def value(self) -> ClusterSettings:
        """Return the settings as the cluster's room knows them."""
        return ClusterSettings(node=self.node, address=self.address, peers=self.peers)
