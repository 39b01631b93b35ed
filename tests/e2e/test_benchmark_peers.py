"""The benchmark's peers are made from our kamailio.cfg: they must keep up with it."""

import subprocess
from pathlib import Path

import pytest

from bench.servers import Native, Plain, Unprotected


@pytest.mark.parametrize("peer", [Native, Plain, Unprotected])
def test_peer_is_made_from_todays_kamailio_cfg(
    peer: type[Native | Unprotected], tmp_path: Path
) -> None:
    server = peer(tmp_path / "peer", 10, 1)
    server.folder.mkdir()
    server.prepare()
    (server.folder / "run").mkdir()
    checked = subprocess.run([*server.command(), "-c"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr[-2000:]
    assert "config file ok" in checked.stderr
