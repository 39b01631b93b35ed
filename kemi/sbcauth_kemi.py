"""The file that Kamailio loads: modparam("app_python3", "load", ".../sbcauth_kemi.py").

It does no more than find the package and hand over, and never changes: Kamailio comes down
when a script that was changed cannot be loaded again. What is written in `worker.py` and in
the package `sbcauth` does the work.
"""

import site
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent  # the repository, or the installed package
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def _find_package() -> None:
    """Make `sbcauth` and what it needs importable, from the folder that this file is in.

    Its packages come before Debian's own, which may be of other versions.
    """
    before = list(sys.path)
    if (HOME / "__init__.py").exists():
        site.addsitedir(str(HOME.parent))
    else:
        site_packages = HOME / ".venv" / "lib" / PYTHON / "site-packages"
        if site_packages.is_dir():
            site.addsitedir(str(site_packages))
        if (HOME / "sbcauth").is_dir():
            sys.path.append(str(HOME))
    found = [path for path in sys.path if path not in before]
    sys.path[:] = found + before


_find_package()

from sbcauth_door.worker import Worker, start  # noqa: E402 - the path comes first


def mod_init() -> Worker:
    """Return the object whose methods are Kamailio's routing functions."""
    return start()
