"""Kamailio, its modules, and the Python that it embeds."""

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from sbcauth.monitoring import modules
from sbcauth.monitoring.doctor.finding import Finding, Grade


def kamailio(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look for Kamailio, its modules, and the Python that it embeds."""
    if not shutil.which("kamailio", path=f"{environment.get('PATH', '')}:/usr/sbin"):
        yield Finding(Grade.ERROR, "Kamailio", "is not installed: apt install kamailio")
        return
    there = modules.installed()
    for module in modules.missing(there):
        if module.definition:  # nothing is wrong, and no cause of a trouble is to be sought there
            text = f"{module.definition} in kamailio.cfg would need {module.package}"
            yield Finding(Grade.OK, "module", f"{module.module} is not installed: {text}")
        else:
            yield Finding(Grade.ERROR, "module", str(module))
    folder = modules.folder()
    if folder and "app_python3.so" in there:
        yield _python(folder / "app_python3.so")


def _python(module: Path) -> Finding:
    """Compare this Python with the one that Kamailio embeds: packages are for one of them."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    embedded = re.search(rb"libpython(3\.\d+)", module.read_bytes())
    theirs = embedded[1].decode() if embedded else ours
    if theirs == ours:
        return Finding(Grade.OK, "Python", f"{ours}, as in Kamailio")
    return Finding(
        Grade.ERROR,
        "Python",
        f"sbcauth runs on {ours}, Kamailio embeds {theirs}: "
        "make the virtual environment anew with /usr/bin/python3",
    )
