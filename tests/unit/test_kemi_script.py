"""The script that Kamailio loads finds our packages, whatever else is installed."""

import subprocess
import sys
from pathlib import Path

from repository import REPOSITORY

LOADED = """
import sys, types
door = types.ModuleType("sbcauth_door")
worker = types.ModuleType("sbcauth_door.worker")
worker.start = worker.Worker = None
sys.modules["sbcauth_door"] = door
sys.modules["sbcauth_door.worker"] = worker  # it needs Kamailio
sys.path[:0] = [{kemi!r}, {debian!r}]
import sbcauth_kemi, pydantic, sbcauth
print(pydantic.__file__, sbcauth.__file__, sep="\\n")
"""


def test_our_packages_come_before_those_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "pydantic.py").write_text("raise ImportError('of another version')")
    program = LOADED.format(kemi=str(REPOSITORY / "kemi"), debian=str(tmp_path))
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pydantic, package = map(Path, done.stdout.split())
    assert Path(sys.prefix) in pydantic.parents
    assert REPOSITORY in package.parents
