"""Which of Kamailio's modules are missing, and the Debian package that each is in."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sbcauth.installation import kamailio_cfg

_FOLDERS = (Path("/usr/lib64/kamailio/modules"), *Path("/usr/lib").glob("*/kamailio/modules"))
_PACKAGES = {
    "app_python3.so": "kamailio-python3-modules",
    "db_sqlite.so": "kamailio-sqlite-modules",
    "tls.so": "kamailio-tls-modules",
    "websocket.so": "kamailio-websocket-modules",
}
_LOADED = re.compile(r'^(?:loadmodule "(.*)"|#!(if\w*|endif|else)\b *(.*))', re.MULTILINE)


class Missing(NamedTuple):
    """A module that is not there; `definition` is what kamailio.cfg loads it for, if not always."""

    module: str
    package: str
    definition: str

    def __str__(self) -> str:
        # Kamailio is there, since its modules are looked for: its package has lost a file.
        again = "--reinstall " if self.package == "kamailio" else ""
        return f"{self.module} is missing: apt install {again}{self.package}"


def folder() -> Path | None:
    """Return where Debian's Kamailio has its modules; None where it has none."""
    return next((each for each in _FOLDERS if each.is_dir()), None)


def missing(there: Iterable[str]) -> Iterator[Missing]:
    """Yield the modules that our kamailio.cfg loads and that are not `there`."""
    found = set(there)
    for module, definition in sorted(_wanted()):
        if module not in found:
            yield Missing(module, _PACKAGES.get(module, "kamailio"), definition)


def installed() -> list[str]:
    """Return the files in the folder of modules."""
    where = folder()
    return [path.name for path in where.iterdir()] if where else []


def _wanted() -> Iterator[tuple[str, str]]:
    """Yield each module that kamailio.cfg loads, with the definition that it is loaded for."""
    within: list[str] = []
    for module, directive, name in _LOADED.findall(kamailio_cfg().read_text("utf-8")):
        if module:
            yield module, next((each for each in within if each.startswith("WITH_")), "")
        elif directive == "endif":
            within.pop()
        elif directive != "else":
            within.append(name.strip())
