"""Our own test server as others see it: a client that is not ours takes it for Apple."""
from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

import orjson
from aioapns import APNs, NotificationRequest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.trial.unittest import SkipTest

from tests.apns_case import AUTHORITY, KEY, SERVER, TOPIC, ApnsCase, Peer, program, token
from tests.apns_double import Asked, Double, Verdict, ordinary
from tests.certificates import key_pem

CLIENT = Path(__file__).parent / "peers" / "apns_client.js"


class Foreign(ApnsCase):
    """aioapns, in a thread with an event loop of its own; @parse/node-apn, in a process."""

    def serve(self, judge: Any) -> int:
        """A port at which doubles listen; they stand in `self.doubles`."""
        self.doubles: list[Double] = []

        def double() -> Double:
            self.doubles.append(Double(judge))
            return self.doubles[-1]
        options = PrivateCertificate.loadPEM(SERVER.both).options()
        port = reactor.listenSSL(0, Factory.forProtocol(double),
                                 CertificateOptions(options.privateKey, options.certificate, acceptableProtocols=[b"h2"]), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

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
        answers = await self.ask(self.serve(judge), token(1), "abcd", token(2))
        self.assertEqual(answers, [(True, "200", None), (False, "400", "BadDeviceToken"), (True, "200", None)])
        self.assertTrue(all(asked.headers["authorization"].startswith("bearer ") for asked in heard))

    async def node(self, port: int) -> Peer:
        """A process with node-apn."""
        if not (CLIENT.parent / "node_modules").is_dir():
            raise SkipTest("@parse/node-apn is not installed (npm install --prefix tests/peers)")
        client = Peer()
        options = {"port": port, "ca": AUTHORITY.pem.decode(), "key": key_pem(KEY).decode(), "topic": TOPIC}
        started = client.next()
        reactor.spawnProcess(client, program("node", "nodejs"), ["node", str(CLIENT), orjson.dumps(options).decode()], env=None)
        self.addCleanup(self.end, client)
        await started
        return client

    def asked(self, client: Peer, *tokens: str) -> Deferred[Any]:
        """What becomes of a push to each, one after the other."""
        client.transport.write(orjson.dumps(tokens) + b"\n")
        return client.next()

    async def test_node_apn(self) -> None:
        """Each kind of answer is understood; after a GOAWAY, and after a connection was cut, it comes again and is answered.

        What it sends before it has heard of either, it gives up.
        """
        answers: dict[str, Verdict] = {token(1): (200,), token(2): (410, "Unregistered", 1_700_000_000_000), token(3): (403, "InvalidProviderToken"),
                                       token(4): ("reset", 7)}

        def judge(asked: Asked) -> Verdict:
            return answers.get(asked.headers[":path"].rpartition("/")[2], ordinary(asked))
        client = await self.node(self.serve(judge))
        found = await self.asked(client, *answers, "abcd")
        self.assertEqual([one[:3] for one in found[:3] + found[4:]],
                         [["sent"], [410, "Unregistered", 1_700_000_000_000], [403, "InvalidProviderToken", None], [400, "BadDeviceToken", None]])
        self.assertIn("NGHTTP2_REFUSED_STREAM", found[3][3])
        self.doubles[-1].goaway(self.doubles[-1].asked[-1].stream)
        self.assertEqual((await self.asked(client, token(1), token(1)))[-1], ["sent"])
        self.doubles[-1].transport.abortConnection()
        self.assertEqual((await self.asked(client, token(1), token(1)))[-1], ["sent"])
        self.assertEqual(len(self.doubles), 3)
        self.assertTrue(all(asked.headers["authorization"].startswith("bearer ") for double in self.doubles for asked in double.asked))
