"""The settings of external servers in sbcauth.yaml: `radius` and `http`."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sbcauth.config import host_values, values
from sbcauth.config.mappings import Port, Secret, Strict, defaults
from sbcauth.http.settings import HttpSettings
from sbcauth.radius.attributes import RadiusAttributes
from sbcauth.radius.settings import RadiusServer, RadiusSettings

_RADIUS, _HTTP = defaults(RadiusSettings), defaults(HttpSettings)


class RadiusServerSettings(Strict):
    """An entry of `radius.servers`."""

    address: Annotated[str, BeforeValidator(host_values.address)]
    port: Port = 1812
    secret: Secret = Field(repr=False)


class RadiusFileSettings(Strict):
    """The keys of `radius`."""

    servers: tuple[RadiusServerSettings, ...]
    attributes: Annotated[RadiusAttributes, values.words(RadiusAttributes)] = _RADIUS["attributes"]
    timeout: Annotated[float, values.seconds(0.1, 10, float)] = _RADIUS["timeout"]
    tries: Annotated[int, values.number(1, 10)] = _RADIUS["tries"]
    dead_time: Annotated[int, values.seconds(0, 3600)] = _RADIUS["dead_time"]

    def value(self, _: Path) -> RadiusSettings:
        """Return the settings as the external server's room knows them."""
        servers = (RadiusServer(s.address, s.port, s.secret) for s in self.servers)
        return RadiusSettings(
            tuple(servers), self.attributes, self.timeout, self.tries, self.dead_time
        )


class HttpFileSettings(Strict):
    """The keys of `http`."""

    urls: Annotated[
        tuple[str, ...],
        BeforeValidator(host_values.service_urls, json_schema_input_type=str | list[str]),
    ]
    secret: Secret = Field(repr=False)
    timeout: Annotated[float, values.seconds(0.1, 10, float)] = _HTTP["timeout"]
    tries: Annotated[int, values.number(1, 10)] = _HTTP["tries"]
    dead_time: Annotated[int, values.seconds(0, 3600)] = _HTTP["dead_time"]
    ca_file: str | None = None

    def value(self, folder: Path) -> HttpSettings:
        """Return the settings as the external server's room knows them."""
        ca_file = folder / self.ca_file if self.ca_file else None
        return HttpSettings(
            self.urls, self.secret, self.timeout, self.tries, self.dead_time, ca_file
        )
