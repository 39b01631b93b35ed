"""A second Kamailio is a client of ours: its module `uac` registers and answers challenges."""

import shutil
from pathlib import Path

from kamailio import Server
from native_kamailio import NativeKamailio

CONFIGURATION = Path(__file__).with_name("uac.cfg")
TABLES = Path("/usr/share/kamailio/dbtext/kamailio")


class UacKamailio(NativeKamailio):
    """A PBX that registers `user` at a server every few seconds, and calls through it."""

    def __init__(
        self, folder: Path, port: int, server: Server, user: str, password: str, realm: str
    ) -> None:
        super().__init__(folder, port, user, password, ("127.0.0.1", server.port))
        self.log_file = folder / "uac.log"
        sbc = f"sip:127.0.0.1:{server.port}"
        tables = folder / "tables"
        tables.mkdir()
        shutil.copy(TABLES / "version", tables)
        columns = (TABLES / "uacreg").read_text().replace("(string)", "(string,null)")
        # the colon is what stands between the columns of this engine
        proxy = sbc.replace(":", "\\:")
        account = f"{user}:{user}:{realm}:{user}:{realm}:{realm}:{user}:{password}"
        (tables / "uacreg").write_text(f"{columns}1:{account}::{proxy}:60:0:0::\n")
        definitions = {
            "USER": user,
            "PASSWORD": password,
            "REALM": realm,
            "SBC": sbc,
            "TABLES": f"text://{tables}",
            "CONTACT": f"127.0.0.1:{port}",
        }
        self._command = ["/usr/sbin/kamailio", "-f", str(CONFIGURATION), "-DD", "-E", "-m", "32"]
        self._command += ["-w", str(folder), "-Y", str(folder)]
        self._command += ["-l", f"udp:{self.address}:{self.port}"]
        for name, value in definitions.items():
            self._command += ["-A", f'{name}="{value}"']
