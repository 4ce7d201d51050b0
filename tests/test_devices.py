"""Devices over HTTP: their ids, phones that change hands, and what their end tells."""
from __future__ import annotations

import secrets
from base64 import b64encode, urlsafe_b64encode
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from interactd.changes import DeviceMoved, Ended
from interactd.entities.devices import apns_token, canonical
from tests.api_case import ApiCase, Person

RAW = bytes(range(200, 232))


class Ids(SynchronousTestCase):
    """What a device id means."""

    def test_tokens(self) -> None:
        """Hex and both kinds of base64 of 32 to 100 bytes are one APNs token; anything else is an id of its own."""
        for said in (RAW.hex(), RAW.hex().upper(), b64encode(RAW).decode(), urlsafe_b64encode(RAW).decode().rstrip("=")):
            self.assertEqual(apns_token(said), RAW.hex(), said)
        for said in ("aa" * 16, b64encode(RAW[:31]).decode(), "6g79bcd2b124bcd835a0769cas3f9b12bbd2b8a779f7fde29b7c11897dcff4q8x", "tablet"):
            self.assertEqual((apns_token(said), canonical(said)), (None, said))

    def test_hex_wins(self) -> None:
        """64 hex digits are a token of 32 bytes, although they are base64 of 48, too."""
        self.assertEqual(apns_token("A" * 64), "aa" * 32)
        self.assertEqual(len(bytes.fromhex(apns_token("g" * 64) or "")), 48)


class Devices(ApiCase):
    """The calls."""

    settings = {"INTERACTD_LIMITS_DEVICES": "3"}

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person()
        self.heard: list[Any] = []
        for kind in (Ended, DeviceMoved):
            self.parts.app.hub.subscribe(kind, self.heard.append)

    async def registered(self, who: Person, device_id: str, **more: Any) -> int:
        """The id of a new device."""
        made = await self.put("/v2/devices", who, {"deviceId": device_id, **more})
        self.assertEqual(made.status, 201, made.json)
        return int(made.entity["id"])

    async def test_life(self) -> None:
        """Registered, listed, changed, deleted; an APNs token is known in every spelling."""
        token = RAW.hex().upper()
        made = await self.put("/v2/devices", self.me, {"deviceId": token, "decoded": True, "name": "phone"})
        shown = {"id": made.entity["id"], "deviceId": token, "decoded": True, "name": "phone", "active": True}
        self.assertEqual((made.status, made.entity), (201, shown))
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": b64encode(RAW).decode()}), 400, 93020126006002)
        path = "/v2/devices/%d" % made.entity["id"]
        changed = await self.post(path, self.me, {**shown, "deviceId": "other", "name": None, "active": False})
        self.assertEqual((changed.status, changed.entity), (200, {"id": shown["id"], "deviceId": token, "decoded": True, "active": False}))
        self.assertEqual((await self.get("/v2/devices", self.me)).json, [changed.entity])
        self.assertEqual((await self.get("/v2/devices?limit=1", self.me)).json["totalLength"], 1)
        self.refused(await self.post(path, self.person(), {"name": "x"}), 404, 91080116001001)
        self.refused(await self.delete(path, self.person()), 404, 91080146001001)
        self.assertEqual((await self.delete(path, self.me)).json, {"code": 204, "devmsg": "success"})
        self.assertEqual((await self.get("/v2/devices", self.me)).json, [])
        log = (await self.get("/v2/activities", self.me)).json["data"]
        self.assertEqual([(a["action"], a["entityType"]) for a in log], [(action, "device") for action in ("delete", "update", "insert")])
        self.assertEqual(log[1]["entity"], {"id": shown["id"], "oldState": shown, "newState": changed.entity})

    async def test_faults(self) -> None:
        """Each fault has its own code."""
        self.refused(await self.put("/v2/devices", None, {"deviceId": "a"}), 401, 94010126005001)
        self.refused(await self.put("/v2/devices", self.me, {}), 400, 92020126002001)
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": ""}), 400, 92010126002002)
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": "a b"}), 400, 92010126002003)
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": "a" * 201}), 400, 92010126002004)
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": "a", "model": 1}), 400, 92010126002005)
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": "a", "active": "yes"}), 400, 92010126002003)

    async def test_room(self) -> None:
        """A user has so many devices and no more; another user is not concerned."""
        for number in range(3):
            await self.registered(self.me, f"d{number}")
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": "one.more"}), 400, 92010126002004)
        await self.registered(self.person(), "d0")

    async def test_ended(self) -> None:
        """A device that is deleted or made inactive is told of, so that its sockets close; one that was refused is not."""
        first, second = await self.registered(self.me, "first"), await self.registered(self.me, "second")
        await self.post("/v2/devices/%d" % first, self.me, {"name": "x"})
        await self.delete("/v2/devices/%d" % first, self.person())
        self.assertEqual(self.heard, [])
        await self.post("/v2/devices/%d" % first, self.me, {"active": False})
        await self.delete("/v2/devices/%d" % second, self.me)
        self.assertEqual(self.heard, [Ended(self.me.id, (), (first,)), Ended(self.me.id, (), (second,))])

    async def test_session(self) -> None:
        """A device remembers the session that registered it."""
        ident = await self.registered(self.me, "tablet")
        sessions = self.sql("SELECT id FROM sessions WHERE user_id = %s", self.me.id)
        self.assertEqual(self.sql("SELECT session_id FROM devices WHERE id = %s", ident), sessions)

    async def test_a_phone_changes_hands(self) -> None:
        """The former owner's registration becomes inactive: an activity, events for its sockets, no more deliveries."""
        token, heir = RAW.hex(), self.person()
        old = await self.registered(self.me, token)
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "pbx"})
        await self.put("/v2/interactions", made.entity["triggerToken"], {"type": "call-incoming", "data": "1234567"})
        new = await self.registered(heir, b64encode(RAW).decode())
        self.assertEqual([d["active"] for d in (await self.get("/v2/devices", self.me)).json], [False])
        self.assertEqual([(d["id"], d["active"]) for d in (await self.get("/v2/devices", heir)).json], [(new, True)])
        self.assertEqual(self.sql("SELECT device_id, failed FROM deliveries"), [(old, "moved")])
        self.assertEqual(self.heard, [Ended(self.me.id, (), (old,)), DeviceMoved(self.me.id, old)])
        log = (await self.get("/v2/activities?limit=1", self.me)).json["data"][0]
        self.assertEqual((log["action"], log["entityType"], log["relatedTo"]["id"]), ("update", "device", heir.id))
        self.assertEqual((log["entity"]["oldState"]["active"], log["entity"]["newState"]["active"]), (True, False))
        self.refused(await self.post("/v2/devices/%d" % old, self.me, {"active": True}), 400, 93020116006002)

    async def test_a_refused_registration_moves_nothing(self) -> None:
        """Whoever has no room left takes nobody's phone."""
        old, heir = await self.registered(self.me, RAW.hex()), self.person()
        for number in range(3):
            await self.registered(heir, f"d{number}")
        self.refused(await self.put("/v2/devices", heir, {"deviceId": RAW.hex()}), 400, 92010126002004)
        self.assertEqual([(d["id"], d["active"]) for d in (await self.get("/v2/devices", self.me)).json], [(old, True)])
        self.assertEqual((self.heard, self.sql("SELECT count(*) FROM device_moves")), ([], [(0,)]))

    async def test_a_token_moves_twice_a_day(self) -> None:
        """The third move of a token within a day is refused; a day later it is not."""
        for _ in range(3):
            await self.registered(self.person(), RAW.hex())
        self.refused(await self.put("/v2/devices", self.me, {"deviceId": RAW.hex()}), 403, 94020126004004)
        self.sql("UPDATE device_moves SET at = at - interval '25 hours'")
        await self.registered(self.me, RAW.hex())
        self.assertEqual(self.sql("SELECT user_id FROM device_moves"), [(self.me.id,)])

    async def test_a_user_takes_five_a_day(self) -> None:
        """The sixth phone that a user takes over within a day is refused."""
        for number in range(6):
            token = secrets.token_hex(32)
            await self.registered(self.person(), token)
            self.sql("DELETE FROM devices WHERE user_id = %s", self.me.id)
            taken = await self.put("/v2/devices", self.me, {"deviceId": token})
            self.assertEqual(taken.status, 201 if number < 5 else 403, taken.json)

    async def test_all_at_once(self) -> None:
        """Three users who register one phone at once get it one after the other; one of them has it in the end."""
        people = [self.person() for _ in range(3)]
        answers = await gatherResults(
            [Deferred.fromCoroutine(self.put("/v2/devices", who, {"deviceId": RAW.hex()})) for who in people])
        self.assertEqual([answer.status for answer in answers], [201, 201, 201])
        self.assertEqual(self.sql("SELECT count(*), count(*) FILTER (WHERE active) FROM devices"), [(3, 1)])
