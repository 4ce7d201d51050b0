"""The same sockets over TLS, whose transport is another."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from autobahn.twisted.websocket import WebSocketClientFactory
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ClientEndpoint, serverFromString
from twisted.internet.ssl import CertificateOptions

from interactd.live.frames import frame
from tests.live_case import Client, LiveCase


def certificate(folder: Path) -> Path:
    """A file with a fresh key and its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256()))
    file = folder / "both.pem"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                     + made.public_bytes(serialization.Encoding.PEM))
    return file


class OverTls(LiveCase):
    """wss://, as the daemon listens to with `ssl:`."""

    async def test_told_and_flooded(self) -> None:
        """Notifications come, a client that does not read is closed, and one that reads again gets all there was."""
        file = certificate(self.config.state.directory)
        port = await serverFromString(reactor, f"ssl:0:interface=127.0.0.1:privateKey={file}:certKey={file}").listen(self.api.site())
        self.addCleanup(port.stopListening)
        factory = WebSocketClientFactory(f"wss://127.0.0.1:{port.getHost().port}/v2/socket?deviceId=phone&authToken={self.me.token}")
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        client: Client = await SSL4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port, CertificateOptions()).connect(factory)
        self.clients.append(client)
        await client.opened
        notice = self.tell(self.me, self.phone)
        self.assertEqual((await client.next())["type"], "call-incoming")
        await client.settled()
        await self.live.ledger.flush()
        self.assertEqual(self.marks(notice), (True, True))
        self.assertFalse(self.live.registry.of(self.me.id)[self.phone].line.stalled)
        client.transport.pauseProducing()
        while self.live.registry.of(self.me.id):
            self.live.registry.of(self.me.id)[self.phone].line.write(frame(b'"' + b"x" * 60_000 + b'"'))
            await self.get("/v2/devices", self.me)
        client.transport.resumeProducing()
        self.assertEqual(await self.ended(client), 4408)
