"""Pushes of the whole daemon to Node's HTTP/2: from the event to the ledger, test pushes, the doctor, a changed key."""
from __future__ import annotations

import signal
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
from attrs import evolve
from autobahn.twisted.websocket import WebSocketClientFactory
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from interactd import ctl
from interactd.config import Apns
from interactd.push.doctor import examine
from interactd.push.identity import identity
from interactd.push.payload import cut, payload, text
from interactd.push.service import Push
from interactd.refusals import ConfigError, Refusal
from tests.api_case import ApiCase
from tests.apns_case import AUTHORITY, KEY, TOPIC, ApnsCase, Peer, token
from tests.certificates import Authority, dns, key_pem, new_key
from tests.live_case import Client


class Payload(SynchronousTestCase):
    """What a push says."""

    def notice(self, **changes: Any) -> str:
        """A notification's JSON."""
        return orjson.dumps({"type": "call-incoming", "data": "+49 30 123", "interactionId": 7, "time": 1, "seq": 2, **changes}).decode()

    def test_texts(self) -> None:
        """The contract's words, for all eight types; the number alone when nobody matches; something when nothing is known."""
        for kind, said in {"call-incoming": "Incoming call from", "call-outgoing": "Outgoing call to", "im-incoming": "Incoming chat from",
                           "im-outgoing": "Outgoing chat to", "email-incoming": "Incoming email from", "email-outgoing": "Outgoing email to",
                           "sms-incoming": "Incoming SMS from", "sms-outgoing": "Outgoing SMS to"}.items():
            self.assertEqual(text(kind, "+49 30 123", "Jane Doe"), f"{said} Jane Doe (+49 30 123)")
            self.assertEqual(text(kind, "+49 30 123", ""), f"{said} +49 30 123")
        self.assertEqual(text("call-incoming", "", ""), "Incoming call from unknown")

    def test_form(self) -> None:
        """As contract section 8 has it; with a match, without, withheld, private."""
        match = {"contactId": 3, "contactName": "Jane", "contactType": "person"}
        self.assertEqual(orjson.loads(payload(self.notice(match=match), 4096)), {
            "aps": {"alert": "Incoming call from Jane (+49 30 123)", "sound": "default", "thread-id": "contact-3"}, "data": "+49 30 123",
            "type": "call-incoming", "interactionId": 7})
        self.assertEqual(orjson.loads(payload(self.notice(data=None, tentatives=[match]), 4096, sound="")), {
            "aps": {"alert": "Incoming call from unknown", "thread-id": "unknown"}, "type": "call-incoming", "interactionId": 7})
        private = payload(self.notice(match=match), 4096, private=True)
        self.assertEqual(orjson.loads(private), {"aps": {"alert": "New event", "sound": "default", "mutable-content": 1}, "interactionId": 7})
        self.assertNotIn(b"Jane", private)

    @given(st.text(max_size=800), st.text(max_size=255))
    def test_fits(self, name: str, data: str) -> None:
        """Whatever the name is, it is JSON of at most 4096 bytes; what had to go is the name's end."""
        said = payload(self.notice(match={"contactId": 3, "contactName": name}, data=data), 1900)
        alert = orjson.loads(said)["aps"]["alert"]
        self.assertLessEqual(len(said), 1900 + 2 * len(data.encode()))
        if "…" in alert.replace(name, "") and name not in alert:
            kept = alert.removeprefix("Incoming call from ").rpartition("…")[0]
            self.assertTrue(name.startswith(kept))

    def test_whole_characters(self) -> None:
        """The longest name of the widest letters fits, and no visible character is cut in two."""
        for name in ("\U0001f469" * 770, "ä" * 770, "\u0001" * 770, "e\u0301" * 385, "\U0001f469\u200d\U0001f467" * 250):
            said = payload(self.notice(match={"contactId": 3, "contactName": name}, data="\U0001f4de" * 255), 4096)
            self.assertLessEqual(len(said), 4096)
            self.assertTrue(len(said) > 4000 or name in orjson.loads(said)["aps"]["alert"])
        self.assertEqual([cut("ae\u0301x", n) for n in range(5)], ["…", "a…", "a…", "ae\u0301…", "ae\u0301x"])
        self.assertEqual(cut("\U0001f469\u200d\U0001f467b", 2), "…")
        self.assertEqual(cut("\U0001f44d\U0001f3fdb", 1), "…")


class Keys(ApnsCase):
    """What the configuration may say."""

    def refused(self, **settings: Any) -> str:
        """Why it is refused."""
        return str(self.assertRaises(ConfigError, identity, Apns(**settings)))

    def test_identity(self) -> None:
        """Off, a key, a certificate; each half configuration and each file that is none is refused in one sentence."""
        self.assertIsNone(identity(Apns()))
        key = Path(self.file(key_pem(KEY)))
        good = {"topic": TOPIC, "key_file": key, "key_id": "KEYKEYKEY1", "team_id": "TEAMTEAM01"}
        mine = identity(Apns(**good))
        assert mine is not None
        self.assertEqual((mine.host, mine.port, mine.requests.authority), ("api.push.apple.com", 443, "api.push.apple.com"))
        sandbox = identity(Apns(**good, environment="sandbox"))
        assert sandbox is not None
        self.assertEqual(sandbox.host, "api.sandbox.push.apple.com")
        signed = Path(self.file(Authority().sign(dns("app")).both))
        certified = identity(Apns(topic=TOPIC, certificate_file=signed))
        assert certified is not None and certified.expires is not None
        self.assertIn("topic", self.refused(**{**good, "topic": ""}))
        self.assertIn("key-id", self.refused(**{**good, "key_id": ""}))
        self.assertIn("one of", self.refused(topic=TOPIC))
        self.assertIn("one of", self.refused(**good, certificate_file=signed))
        self.assertIn("can not be read", self.refused(**{**good, "key_file": Path("/nowhere")}))
        self.assertIn("no private key", self.refused(**{**good, "key_file": Path(self.file(b"x"))}))
        self.assertIn("P-256", self.refused(**{**good, "key_file": Path(self.file(key_pem(ec.generate_private_key(ec.SECP384R1()))))}))
        self.assertIn("certificate", self.refused(topic=TOPIC, certificate_file=key))
        self.assertIn("ca-file", self.refused(**good, ca_file=key))


class Daemon(ApiCase, ApnsCase):
    """`self.apple` is Node; `self.event()` is a phone that rings; pushes of events are due at once, or 0.3 s after the socket was told."""

    more: dict[str, str] = {}

    async def setUp(self) -> None:
        self.apple: Peer = await self.peer(topic=TOPIC)
        self.key_file = self.file(key_pem(KEY))
        self.settings = {
            "INTERACTD_APNS_TOPIC": TOPIC, "INTERACTD_APNS_KEY_FILE": self.key_file, "INTERACTD_APNS_KEY_ID": "KEYKEYKEY1",
            "INTERACTD_APNS_TEAM_ID": "TEAMTEAM01", "INTERACTD_APNS_HOST": f"localhost:{self.apple.port}",
            "INTERACTD_APNS_CA_FILE": self.file(AUTHORITY.pem), "INTERACTD_LIVE_ACK_TIMEOUT": "0.3", "INTERACTD_LIVE_SWEEP_EVERY": "0.2", **self.more}
        await super().setUp()
        self.me = self.person("me@example.org")
        self.phone = int((await self.put("/v2/devices", self.me, {"deviceId": token(1), "name": "phone"})).entity["id"])
        self.trigger = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "trigger"})).entity["triggerToken"]

    async def event(self, **more: Any) -> int:
        """An event's id."""
        made = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": "+4930123456", **more})
        return int(made.entity["id"])

    async def ledger(self, ident: int, state: str, device: int | None = None) -> Any:
        """What the ledger says of a device, once it is in this state."""
        while True:
            rows = (await self.get(f"/v2/interactions/{ident}/deliveries", self.me)).json
            (row,) = [row for row in rows if row["device"]["id"] == (device or self.phone)]
            if row["state"] == state:
                return row
            await self.pause()

    async def pause(self) -> None:
        """A moment, between two looks."""
        done: Deferred[None] = Deferred()
        reactor.callLater(0.02, done.callback, None)
        await done

    async def listen(self) -> Client:
        """The phone's socket."""
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{self.port}/v2/socket?deviceId={token(1)}&authToken={self.me.token}")
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        client: Client = await TCP4ClientEndpoint(reactor, "127.0.0.1", self.port).connect(factory)
        self.addCleanup(lambda: client.transport.abortConnection() or client.closed)
        return await client.opened

    async def test_event(self) -> None:
        """An event of a phone without a socket is at Apple at once; the ledger has each step, for its owner only."""
        ident = await self.event()
        row = await self.ledger(ident, "sent")
        self.assertEqual((row["device"], row["via"], row["pushes"]), ({"id": self.phone, "name": "phone"}, "push", 1))
        self.assertTrue(row["stored"] <= row["queued"] <= row["pushed"])
        stats = await self.apple.ask("stats")
        self.assertEqual(orjson.loads(stats["body"])["aps"]["alert"], "Incoming call from +4930123456")
        self.assertEqual((stats["headers"]["apns-id"], stats["headers"]["apns-collapse-id"]), (row["apnsId"], str(ident)))
        self.assertEqual((await self.get(f"/v2/interactions/{ident}/deliveries", self.person())).status, 404)
        paged = (await self.get(f"/v2/interactions/{ident}/deliveries?limit=1", self.me)).json
        self.assertEqual((paged["totalLength"], paged["data"][0]["state"]), (1, "sent"))

    async def test_socket_first(self) -> None:
        """What the socket acknowledges is not pushed; what it does not is, and then the ledger says both."""
        client = await self.listen()
        ident = await self.event()
        self.assertEqual((await client.next())["interactionId"], ident)
        row = await self.ledger(ident, "acknowledged")
        self.assertEqual((row["via"], "pushed" in row), ("socket", False))
        client.answers = False
        silent = await self.event()
        while "pushed" not in (row := await self.ledger(silent, "sent")):
            await self.pause()
        self.assertEqual((row["via"], row["pushed"] >= row["sent"]), ("both", True))
        client.sendPong(client.pings[-1])
        row = await self.ledger(silent, "acknowledged")
        self.assertEqual((row["via"], row["acknowledged"] >= row["pushed"]), ("both", True))
        self.assertEqual((await self.apple.ask("stats"))["executed"], 1)

    async def test_pushed_is_not_told_again(self) -> None:
        """A plain socket that opens behind the push does not ring a second time."""
        await self.ledger(await self.event(), "sent")
        client = await self.listen()
        self.assertEqual((await client.next())["message"], "cloud synchronization recommended")
        await client.settled()
        self.assertEqual(list(client.messages), [])

    async def test_dead_token(self) -> None:
        """A dead token is pushed to no more; the app registers it again, as a new device."""
        await self.ledger(await self.event(), "sent")
        await self.apple.ask("plan", plan={"answers": {token(1): [410, "Unregistered"]}})
        row = await self.ledger(await self.event(), "failed")
        self.assertEqual(row["reason"], "dead: Unregistered")
        while self.sql("SELECT apns_token FROM devices WHERE id = %s", self.phone) != [(None,)]:
            await self.pause()
        self.assertEqual((await self.post(f"/v2/devices/{self.phone}?cmd=testPush", self.me)).json, {"outcome": "no token", "socket": False})
        await self.apple.ask("plan", plan={"answers": {}})
        again = await self.put("/v2/devices", self.me, {"deviceId": token(1)})
        self.assertEqual(again.status, 201)
        await self.ledger(await self.event(), "sent", again.entity["id"])
        self.assertEqual((await self.put("/v2/devices", self.me, {"deviceId": token(1)})).status, 400)

    async def test_whose_it_is(self) -> None:
        """A push on its way is leased to this node by its number in the table of nodes."""
        self.apple.signal(signal.SIGSTOP)
        ident = await self.event()
        whose = "SELECT n.id FROM deliveries d JOIN nodes n ON n.id::text = d.lease_node AND d.lease_until > now() WHERE d.interaction_id = %s"
        while not (found := self.sql(whose, ident)):
            await self.pause()
        self.apple.signal(signal.SIGCONT)
        self.assertEqual(found, self.sql("SELECT id FROM nodes"))
        await self.ledger(ident, "sent")

    async def test_restart(self) -> None:
        """What could not be sent is sent behind a restart; what came too late for it is expired."""
        self.apple.signal(9)
        await self.apple.gone
        mail, call = await self.event(type="email-incoming", data="a@example.org"), await self.event()
        await self.pause()
        await self.parts.app.push.stopService()
        self.sql("UPDATE deliveries SET stored_at = stored_at - interval '61 s' WHERE interaction_id = %s", call)
        self.apple = await self.peer(topic=TOPIC, port=self.apple.port)
        again = Push(identity(self.config.apns), self.parts.app.database, self.parts.app.hub, self.config, reactor)
        again.startService()
        self.addCleanup(again.stopService)
        while self.sql("SELECT accepted_at FROM deliveries WHERE interaction_id = %s", mail) == [(None,)]:
            await self.pause()
        while self.sql("SELECT push_failed_at FROM deliveries WHERE interaction_id = %s", call) == [(None,)]:
            await self.pause()
        self.assertTrue(self.sql("SELECT push_failed FROM deliveries WHERE interaction_id = %s", call)[0][0].startswith("expired"))
        self.assertEqual((await self.apple.ask("stats"))["executed"], 1)

    async def test_trial(self) -> None:
        """A test push says what happened; not to another's device, and not all the time."""
        path = f"/v2/devices/{self.phone}?cmd=testPush"
        said = (await self.post(path, self.me)).json
        stats = await self.apple.ask("stats")
        self.assertEqual(said, {"outcome": "ok", "status": 200, "apnsId": stats["headers"]["apns-id"], "topic": TOPIC, "environment": "localhost",
                                "socket": False})
        self.refused(await self.post(path, self.me), 429, 93000116002004)
        self.refused(await self.post(path, self.person()), 404, 91080116001001)
        await self.apple.ask("plan", plan={"answers": {token(2): [400, "BadTopic"]}})
        other = (await self.put("/v2/devices", self.me, {"deviceId": token(2), "voip": True})).entity
        self.assertTrue(other["voip"])
        said = (await self.post(f"/v2/devices/{other['id']}?cmd=testPush", self.me)).json
        self.assertEqual((said["outcome"], said["reason"], said["topic"]), ("dropped", "BadTopic", TOPIC + ".voip"))

    async def test_voip(self) -> None:
        """A VoIP device is due calls and nothing else; a late event is due nowhere."""
        device = (await self.put("/v2/devices", self.me, {"deviceId": token(3), "voip": True})).entity["id"]
        call, mail = await self.event(), await self.event(type="email-incoming", data="a@example.org")
        late = await self.event(time=1_600_000_000_000, sentAt=1_700_000_000_000)
        await self.ledger(call, "failed", device)       # DeviceTokenNotForTopic: Node knows one topic only
        self.assertEqual(self.sql("SELECT interaction_id, device_id FROM deliveries WHERE queued_at IS NOT NULL OR due_at IS NOT NULL ORDER BY 1, 2"),
                         [(call, self.phone), (call, device), (mail, self.phone)])
        self.assertNotIn(late, (call, mail))

    async def test_changed_key(self) -> None:
        """A refused key blocks; when its file has changed, what waits is sent."""
        self.assertEqual((await self.post(f"/v2/devices/{self.phone}?cmd=testPush", self.me)).json["outcome"], "ok")
        Path(self.key_file).write_bytes(key_pem(new_key()))
        ident = 0
        while self.parts.app.push.pool.mode.value != "blocked":
            ident = await self.event()
            await self.pause()
        Path(self.key_file).write_bytes(b"nothing")
        await self.pause()
        Path(self.key_file).write_bytes(key_pem(KEY))
        await self.ledger(ident, "sent")

    async def test_doctor(self) -> None:
        """What is looked at, what is found to be wrong, and what would help."""
        found = {one.what: one for one in await examine(reactor, self.parts.app.database, self.config, str(self.phone))}
        self.assertEqual([one.wrong for one in found.values() if one.wrong], [])
        self.assertEqual(list(found), ["device", "registration", "environment", "key", "clock", "connection", "last success", "last error"])
        self.assertIn("answers by HTTP/2 and allows 100", found["connection"].seen)
        await self.apple.ask("plan", plan={"answers": {token(1): [400, "BadTopic"]}})
        await self.ledger(await self.event(), "failed")
        self.sql("UPDATE devices SET active = false WHERE id = %s", self.phone)
        self.apple.signal(9)
        await self.apple.gone
        found = {one.what: one for one in await examine(reactor, self.parts.app.database, self.config, token(1))}
        self.assertIn("BadTopic", found["last error"].wrong)
        self.assertIn("inactive", found["registration"].wrong)
        self.assertIn("refused", found["connection"].wrong)
        self.assertIn("failed (dropped: BadTopic)", found["event"].seen)
        failure = await self.assertFailure(Deferred.fromCoroutine(examine(reactor, self.parts.app.database, self.config, "nobody")), Refusal)
        self.assertIn("there is no device nobody", str(failure))


class Off(ApiCase):
    """Without `[apns]`."""

    async def test_check_config(self) -> None:
        """A key file that is none is found before the start."""
        wrong = evolve(self.config, apns=Apns(topic=TOPIC, key_file=Path("/nowhere"), key_id="KEYKEYKEY1", team_id="TEAMTEAM01"))
        fault = self.assertRaises(ConfigError, ctl.check_config, wrong, None)
        self.assertEqual(str(fault), "[apns] key-file: /nowhere can not be read (No such file or directory)")

    async def test_off(self) -> None:
        """Nothing is due, a test push says so, and so does the doctor."""
        me = self.person("me@example.org")
        device = (await self.put("/v2/devices", me, {"deviceId": token(1)})).entity["id"]
        trigger = (await self.put("/v2/triggerDevices", me, {"deviceId": "trigger"})).entity["triggerToken"]
        await self.put("/v2/interactions", trigger, {"type": "call-incoming", "data": "+4930123456"})
        self.assertEqual(self.sql("SELECT due_at, queued_at FROM deliveries"), [(None, None)])
        self.assertEqual((await self.post(f"/v2/devices/{device}?cmd=testPush", me)).json["outcome"], "off")
        found = await examine(reactor, self.parts.app.database, self.config, str(device))
        self.assertIn("give [apns] topic and a key", [one.wrong for one in found])
        self.sql("UPDATE devices SET active = false")
        with redirect_stdout(StringIO()) as printed:
            asked = ctl.examine_device(reactor, self.dsn, self.config, ctl.parser().parse_args(["doctor", token(1)]))
            failure = await self.assertFailure(Deferred.fromCoroutine(asked), Refusal)
        self.assertIn("settings: give [apns] topic and a key", str(failure))
        self.assertIn("registration: the device is inactive", str(failure))
        self.assertIn("registration: inactive, with an APNs token", printed.getvalue())
