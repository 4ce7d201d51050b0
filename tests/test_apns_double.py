"""Our own test server as others see it: a client that is not ours takes it for Apple."""
from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

from aioapns import APNs, NotificationRequest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, PrivateCertificate

from tests.apns_case import AUTHORITY, KEY, SERVER, TOPIC, ApnsCase, token
from tests.apns_double import Asked, Double, Verdict, ordinary
from tests.certificates import key_pem


class Foreign(ApnsCase):
    """aioapns, in a thread with an event loop of its own."""

    async def ask(self, port: int, *tokens: str) -> list[tuple[bool, str, str | None]]:
        """What aioapns makes of the answers."""
        done: Deferred[Any] = Deferred()
        context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
        context.set_alpn_protocols(["h2"])

        async def send() -> list[tuple[bool, str, str | None]]:
            client = APNs(key=key_pem(KEY).decode(), key_id="KEYKEYKEY1", team_id="TEAMTEAM01", topic=TOPIC, ssl_context=context)
            client.pool.protocol_class = type("Near", (client.pool.protocol_class,), {"APNS_SERVER": "localhost", "APNS_PORT": port})
            answers = []
            for one in tokens:
                answer = await client.send_notification(NotificationRequest(device_token=one, message={"aps": {"alert": "x"}}))
                answers.append((answer.is_successful, answer.status, answer.description))
            client.pool.close()
            return answers

        def work() -> None:
            try:
                result: Any = asyncio.run(send())
            except Exception as fault:
                result = fault
            reactor.callFromThread(done.callback, result)
        threading.Thread(target=work).start()
        return await done

    async def test_aioapns(self) -> None:
        """It is answered 200 and 400 as by Apple, and shows a provider token."""
        heard: list[Asked] = []

        def judge(asked: Asked) -> Verdict:
            heard.append(asked)
            return ordinary(asked)
        options = PrivateCertificate.loadPEM(SERVER.both).options()
        port = reactor.listenSSL(0, Factory.forProtocol(lambda: Double(judge)),
                                 CertificateOptions(options.privateKey, options.certificate, acceptableProtocols=[b"h2"]), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        answers = await self.ask(port.getHost().port, token(1), "abcd", token(2))
        self.assertEqual(answers, [(True, "200", None), (False, "400", "BadDeviceToken"), (True, "200", None)])
        self.assertTrue(all(asked.headers["authorization"].startswith("bearer ") for asked in heard))
