"""The settings of a cluster in sbcauth.yaml: `cluster`."""

import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sbcauth.cluster.engine_settings import (
    REDIS_PORT,
    SENTINEL_PORT,
    EnginePlace,
    EngineSettings,
)
from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.config import values
from sbcauth.config.mappings import Secret, Strict
from sbcauth.digest.authorities import MOST_NODES, NonceAuthority

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


_ENGINE = re.compile(r"(redis|rediss)(\+sentinel)?://([^/?#@\s]+)((?:/[A-Za-z0-9._-]+)*)", re.ASCII)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)
_LIKE = "such as redis://10.0.0.5:6379, rediss://…, unix:///… or redis+sentinel://HOST,…/NAME"


def engine_place(value: Any) -> EnginePlace:
    """Return where the engine is, by its URL; user name and password stand apart."""
    text = value if isinstance(value, str) else ""
    if "@" in text:  # it may be a password, and is not shown
        raise ValueError("has a user or password in it: write engine_username, engine_password")
    if text.startswith("unix:///") and len(text) > len("unix:///"):
        return EnginePlace(path=text.removeprefix("unix://"))
    match = _ENGINE.fullmatch(text)
    parts = match[4].split("/")[1:] if match else []
    if match and len(parts) <= 1 + bool(match[2]):
        name = parts.pop(0) if match[2] and parts else ""
        number = parts[0] if parts else "0"
        hosts = tuple(_host(each, bool(match[2])) for each in match[3].split(","))
        if number.isdecimal() and bool(name) == bool(match[2]) and (name or len(hosts) == 1):
            return EnginePlace(hosts, name=name, database=int(number), tls=match[1] == "rediss")
    raise ValueError(f"{values.shown(value)} is not the URL of an engine, {_LIKE}")


def _host(text: str, is_sentinel: bool) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = int(match[2] or (SENTINEL_PORT if is_sentinel else REDIS_PORT)) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError(f"{values.shown(text)} is not a host, or a host and a port")
    return match[1].strip("[]"), port


class ClusterFileSettings(Strict):
    """The keys of `cluster`."""

    node: Annotated[int, values.number(1, MOST_NODES)]
    address: (
        Annotated[NodeAddress, BeforeValidator(node_address, json_schema_input_type=str)] | None
    ) = None
    peers: Annotated[
        tuple[NodeAddress, ...],
        BeforeValidator(node_addresses, json_schema_input_type=str | list[str]),
    ] = ()
    nodes: Annotated[int, values.number(1, MOST_NODES)] | None = None
    engine: (
        Annotated[EnginePlace, BeforeValidator(engine_place, json_schema_input_type=str)] | None
    ) = None
    engine_username: Secret | None = None
    engine_password: Secret | None = Field(default=None, repr=False)
    sentinel_password: Secret | None = Field(default=None, repr=False)
    engine_ca_file: str | None = None
    engine_timeout: Annotated[float, values.seconds(0.005, 1, float)] = 0.05
    nonces: Annotated[NonceAuthority, values.words(NonceAuthority)] = NonceAuthority.AUTO

    def value(self, folder: Path) -> ClusterSettings:
        """Return the settings as the cluster's room knows them."""
        return ClusterSettings(
            node=self.node, address=self.address, peers=self.peers, engine=self._engine(folder)
        )

    def _engine(self, folder: Path) -> EngineSettings | None:
        if self.engine is None:
            return None
        return EngineSettings(
            nodes=self.nodes or (len(self.peers) + 1 if self.peers else 3),
            engine=self.engine,
            engine_username=self.engine_username,
            engine_password=self.engine_password,
            sentinel_password=self.sentinel_password,
            engine_ca_file=folder / self.engine_ca_file if self.engine_ca_file else None,
            engine_timeout=self.engine_timeout,
            nonces=self.nonces,
        )
