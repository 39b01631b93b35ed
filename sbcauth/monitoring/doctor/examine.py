"""All that the doctor looks at."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sbcauth.config.load import load
from sbcauth.exceptions import ConfigError
from sbcauth.monitoring.doctor.cluster import cluster
from sbcauth.monitoring.doctor.files import configuration, nonce_keys, permissions
from sbcauth.monitoring.doctor.finding import Finding, Grade
from sbcauth.monitoring.doctor.kamailio import kamailio
from sbcauth.monitoring.doctor.server import server
from sbcauth.monitoring.doctor.surroundings import names, room
from sbcauth.monitoring.doctor.user_info import database
from sbcauth.monitoring.rpc import Rpc


def examine(file: Path, environment: Mapping[str, str], rpc: Rpc, now: float) -> Iterator[Finding]:
    """Yield a finding for each thing that is looked at, at `now` (seconds since 1970)."""
    yield from kamailio(environment)
    try:
        config = load(file, environment)
    except ConfigError as error:
        for line in str(error).splitlines():
            yield Finding(Grade.ERROR, "configuration", line)
        return
    yield from configuration(config)
    yield from database(config)
    yield from permissions(config, rpc)
    yield from nonce_keys(config, now)
    yield from cluster(config)
    yield from names(config)
    yield from room(config)
    yield from server(config, rpc, now)
