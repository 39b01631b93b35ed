"""`sbcauth run` needs no root, and what it makes is for its own user alone."""

import os
import stat
import tempfile
from pathlib import Path

import pytest
from kamailio import SBCAUTH, Server
from phone import Phone

NOBODY = 65534
CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/16}]
"""


def others_may_read(path):
    """Tell whether any user gets to a file: a checkout in root's home is root's alone."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not others_may_read(SBCAUTH), reason="the checkout is root's alone")
def test_server_runs_as_a_user_without_rights_and_its_files_are_its_own():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o755)
        with Server(folder, CONFIG, user=NOBODY) as server:
            server.add_user("1001", "secret")
            assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
            with Phone(server, "1001", "secret", expires=0) as phone:
                assert phone.register().status == 200
                assert phone.register(password="wrong").status == 401
            server.administer("nonce-key", "rotate")
            server.administer("lockout", "list")
            made = {path.name: path for path in folder.rglob("*")}
            for private in ("sbcauth.db", "sbcauth.db-wal", "sbcauth.keys"):
                assert stat.S_IMODE(made[private].stat().st_mode) == 0o600, private
            assert stat.S_IMODE(made["run"].stat().st_mode) == 0o700
            assert made["rpc.sock"].parent == made["run"]
            ours = {"sbcauth.yaml", "kamailio.log"}
            assert {made[n].stat().st_uid for n in made.keys() - ours} == {NOBODY}
