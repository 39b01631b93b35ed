"""A RADIUS server made with pyrad, another than FreeRADIUS: it verifies digests, in either form.

python pyrad_server.py PORT SECRET USER PASSWORD
"""

import subprocess
import sys
import time
from hashlib import md5
from pathlib import Path
from typing import Self

from pyrad.packet import AccessReject, AuthPacket
from pyrad.server import RemoteHost, Server

_STERMAN = {
    **{1: "realm", 2: "nonce", 3: "method", 4: "uri", 5: "qop", 6: "algorithm"},
    **{7: "body", 8: "cnonce", 9: "nc", 10: "username"},
}
_RFC5090 = {
    **{103: "response", 104: "realm", 105: "nonce", 108: "method", 109: "uri", 110: "qop"},
    **{111: "algorithm", 113: "cnonce", 114: "nc", 115: "username"},
}


def digest_of(packet: AuthPacket) -> dict[str, str]:
    """Return what the attributes say of a digest: draft-sterman-aaa-sip-01's, or RFC 5090's."""
    digest = {name: packet[number][0] for number, name in _RFC5090.items() if number in packet}
    if 206 in packet:
        digest["response"] = packet[206][0]
        for value in packet[207]:
            while value:
                number, length = value[:2]
                digest[_STERMAN.get(number, "")] = value[2:length]
                value = value[length:]
    return {name: value.decode() for name, value in digest.items()}


def is_right(digest: dict[str, str], user: str, password: str) -> bool:
    """Tell whether a digest by MD5 is the one of this user (RFC 7616, 3.4.1)."""

    def hashed(*parts: str) -> str:
        return md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    if digest.get("username") != user or digest.get("algorithm") != "MD5":
        return False
    d = digest
    protected = (d["nc"], d["cnonce"], d["qop"]) if "qop" in d else ()
    ha1, ha2 = hashed(user, d["realm"], password), hashed(d["method"], d["uri"])
    return d["response"] == hashed(ha1, d["nonce"], *protected, ha2)


class DigestServer(Server):  # type: ignore[misc] # pyrad has no types
    """Accepts the digest of one user."""

    def __init__(self, port: int, secret: str, user: str, password: str) -> None:
        hosts = {"127.0.0.1": RemoteHost("127.0.0.1", secret.encode(), "sbcauth")}
        super().__init__(
            addresses=["127.0.0.1"], authport=port, hosts=hosts, acct_enabled=False, enforce_ma=True
        )
        self._known = user, password

    def HandleAuthPacket(self, packet: AuthPacket) -> None:  # noqa: N802 - pyrad's name
        """Answer an Access-Request."""
        reply = self.CreateReplyPacket(packet)
        if not is_right(digest_of(packet), *self._known):
            reply.code = AccessReject
        print("rejected" if reply.code == AccessReject else "accepted", flush=True)
        self.SendReplyPacket(packet.fd, reply)


class PyradServer:
    """Such a server as a process of its own."""

    def __init__(self, folder: Path, port: int, secret: str, user: str, password: str) -> None:
        self.log_file = folder / "pyrad.log"
        self._command = [sys.executable, __file__, str(port), secret, user, password]

    def __enter__(self) -> Self:
        with self.log_file.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while "ready" not in self.log():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(20)

    def log(self) -> str:
        """Return what it has written."""
        return self.log_file.read_text(errors="replace")

    def verdicts(self) -> list[str]:
        """Return what it has answered, in order."""
        return [line for line in self.log().split() if line in ("accepted", "rejected")]


if __name__ == "__main__":
    server = DigestServer(int(sys.argv[1]), *sys.argv[2:])
    print("ready", flush=True)
    server.Run()
