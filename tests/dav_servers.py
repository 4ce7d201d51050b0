"""Radicale and Xandikos as processes of their own, one of each for all tests of a process, and what puts cards on them."""
from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from functools import cache
from hashlib import sha1
from pathlib import Path

from attrs import frozen
from twisted.internet import reactor

from benchmarks.processes import free_port
from interactd.imports.outgoing import Asking, Gate, Reply
from interactd.keys import Server
from interactd.tls import StrictPolicy, trusted
from tests.certificates import Authority

PASSWORD = "pa:ss wörd"
USERS = [f"user{n}" for n in range(60)]
_free = iter(USERS)
MKBOOK = b"""<?xml version="1.0"?><mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop><resourcetype><collection/><C:addressbook/>
</resourcetype></prop></set></mkcol>"""


@frozen
class Dav:
    """A running server, as a client that writes to it."""

    url: str
    files: Path
    trust: bytes = Authority().pem

    @property
    def server(self) -> Server:
        """Its entry in the configuration."""
        return Server("carddav", self.url, True)

    async def ask(self, user: str, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """One request of a user."""
        gate = Gate(reactor, _loopback, StrictPolicy(trusted(self.trust)), 20.0, 50 << 20)
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        secret = "Basic " + b64encode(f"{user}:{PASSWORD}".encode()).decode()
        return await gate.ask(self.server, Asking(method, self.url + path, said, body, secret))

    async def book(self, user: str, name: str = "book") -> str:
        """The path of a new address book of a user of Radicale."""
        path = f"/{user}/{name}/"
        reply = await self.ask(user, "MKCOL", path, MKBOOK, Content_Type="application/xml")
        assert reply.status == 201, reply
        return path

    async def put(self, user: str, path: str, card: str) -> None:
        """A card is there."""
        reply = await self.ask(user, "PUT", path, card.replace("\n", "\r\n").encode(), Content_Type="text/vcard; charset=utf-8")
        assert reply.status in (200, 201, 204), reply

    async def delete(self, user: str, path: str) -> None:
        """A card is not there any more."""
        reply = await self.ask(user, "DELETE", path)
        assert reply.status in (200, 204), reply


async def _loopback(host: str) -> list[str]:
    return ["127.0.0.1"]


def fresh_user() -> str:
    """A user whom no test has used yet."""
    return next(_free)


def card(*lines: str, version: str = "3.0") -> str:
    """The text of a card."""
    return "\n".join(("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""))


@cache
def radicale() -> Dav:
    """Radicale, without TLS."""
    home, port = _home(), free_port()
    (home / "users").write_text("".join(f"{user}:{PASSWORD}\n" for user in USERS), encoding="utf-8")
    (home / "config").write_text(f"""
[server]
hosts = 127.0.0.1:{port}
max_connections = 100
[auth]
type = htpasswd
htpasswd_filename = {home / "users"}
htpasswd_encryption = plain
delay = 0
[rights]
type = owner_only
[storage]
filesystem_folder = {home / "data"}
[logging]
level = error
""")
    _start(home, port, ["-m", "radicale", "-C", str(home / "config")])
    return Dav(f"http://localhost:{port}", home / "data")


@cache
def xandikos() -> Dav:
    """Xandikos, with TLS by a certificate of its own; its only user is `user0`."""
    home, port = _home(), free_port()
    (home / "users").write_text(f"user0:{{SHA}}{b64encode(sha1(PASSWORD.encode()).digest()).decode()}\n")
    _start(home, port, ["-m", "xandikos", "serve", "--defaults", "--autocert", "--htpasswd", str(home / "users"), "-d", str(home / "data"),
                        "--state-dir", str(home / "state"), "-l", "localhost", "-p", str(port), "--no-detect-systemd"])
    return Dav(f"https://localhost:{port}", home / "data", (home / "state/certs/selfsigned.crt").read_bytes())


def _home() -> Path:
    made = Path(tempfile.mkdtemp(prefix="interactd-dav-"))
    atexit.register(shutil.rmtree, made, True)
    return made


def _start(home: Path, port: int, command: list[str]) -> None:
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    atexit.register(process.kill)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError((home / "log").read_text())
