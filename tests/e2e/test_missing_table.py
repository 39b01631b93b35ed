"""A kamailio.cfg that lacks one of our htables lets nobody in, and says what is missing."""

from pathlib import Path

import pytest
from kamailio import StartServer
from phone import Phone

from sbcauth.installation import kamailio_cfg

CONFIG = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    classification: [{address: 127.0.0.0/16}]
"""


def test_missing_table_is_named_and_nobody_passes(
    start_server: StartServer, tmp_path: Path
) -> None:
    lines = kamailio_cfg().read_text().splitlines(keepends=True)
    (missing,) = [line for line in lines if '"sbcauth_trusted=>' in line]
    cfg = tmp_path / "older.cfg"
    cfg.write_text("".join(line for line in lines if line != missing))
    server = start_server(CONFIG, well=False, options=["--cfg", str(cfg)])
    server.add_user("1001", "secret")
    with Phone(server, "1001", "secret", expires=0) as phone:
        assert phone.register().status == 503
        assert server.reasons(phone.call_id)[-1] == "unavailable"
    assert "kamailio.cfg lacks the htable sbcauth_trusted" in server.log_file.read_text()
    examined = server.sbcauth("doctor")
    assert examined.returncode == 1
    assert f"kamailio.cfg lacks an htable; add: {missing.strip()}" in examined.stdout


def test_table_of_nonce_counts_as_it_was_before_keeps_the_server_from_starting(
    start_server: StartServer, tmp_path: Path
) -> None:
    cfg = tmp_path / "older.cfg"
    cfg.write_text(kamailio_cfg().read_text().replace("size=16;initval=0;", "size=16;"))
    with pytest.raises(AssertionError, match="lacks the htable sbcauth_nonce_counts as"):
        start_server(CONFIG, well=False, options=["--cfg", str(cfg)])
