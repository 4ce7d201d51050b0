"""Interactions over HTTP: events in, read, linked, told on by their trigger device."""
from __future__ import annotations

import time
from typing import Any

from tests.api_case import ApiCase


class Events(ApiCase):
    """A user with a trigger device, a desk and a contact."""

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person()
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "phone"})
        self.trigger, self.phone = made.entity["triggerToken"], made.entity["id"]
        self.ada = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada",
                                                             "basicInfos": [{"type": "phone", "value": "+49 2332 667998"}]})).entity
        self.acme = (await self.put("/v2/contacts", self.me, {"contactType": "organization", "organizationName": "ACME"})).entity

    async def event(self, **more: Any) -> Any:
        """An event that is stored."""
        reply = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": "02332/66 79 98", **more})
        self.assertEqual(reply.status, 201, reply.json)
        return reply.entity

    async def test_matched(self) -> None:
        """The caller is found however the number is spelled, and the event is read again as it was answered."""
        stored = await self.event()
        self.assertEqual(stored["person"], {"id": self.ada["id"], "displayName": "Ada"})
        self.assertEqual((await self.get("/v2/interactions/%d" % stored["id"], self.me)).json, stored)
        self.assertEqual((await self.get("/v2/interactions", self.me)).json, [stored])
        self.assertEqual((await self.get("/v2/interactions", self.person())).json, [])
        log = (await self.get("/v2/activities?limit=1", self.me)).json["data"][0]
        self.assertEqual((log["action"], log["entityType"], log["entity"]["newState"]), ("insert", "interaction", stored))

    async def test_tokens(self) -> None:
        """Without token, with a dead one, with an authToken: 401; a body is judged after the token."""
        event = {"type": "call-incoming", "data": "1"}
        self.refused(await self.put("/v2/interactions", None, event), 401, 94010129005001)
        self.refused(await self.put("/v2/interactions", self.me, event), 401, 94010129005001)
        self.refused(await self.put("/v2/interactions", "dead", event), 401, 94010129005002)
        self.refused(await self.put("/v2/interactions", "dead", {"type": "smoke"}), 401, 94010129005002)
        self.refused(await self.put("/v2/interactions", "dead", []), 401, 94010129005002)
        self.refused(await self.put("/v2/interactions", self.trigger, {"type": "smoke"}), 400, 92010129002003)
        self.refused(await self.put("/v2/interactions", self.trigger, {"data": "1"}), 400, 92020129002001)
        self.refused(await self.put("/v2/interactions", self.trigger, {**event, "time": 5}), 400, 92010129002004)
        self.refused(await self.put("/v2/interactions", self.trigger, {**event, "externalSystem": {"name": "x"}}), 400, 92010129002003)

    async def test_withheld(self) -> None:
        """A withheld caller is an event without match."""
        stored = await self.event(data=None)
        self.assertNotIn("data", stored)
        self.assertNotIn("basicInfoId", stored)

    async def test_array(self) -> None:
        """Elements are judged one by one; 201 if one is stored, else the first error's status."""
        now = int(time.time() * 1000)
        good, bad = {"type": "sms-incoming", "data": "+49 2332 667998", "time": now}, {"type": "smoke"}
        reply = await self.put("/v2/interactions", self.trigger, [good, bad])
        self.assertEqual((reply.status, reply.json["code"]), (201, 201))
        self.assertEqual(reply.json["entities"][0]["person"]["displayName"], "Ada")
        self.assertEqual(reply.json["entities"][1]["error"], 92010129002003)
        self.assertEqual((await self.put("/v2/interactions", self.trigger, [bad])).status, 400)
        self.refused(await self.put("/v2/interactions", self.trigger, [good] * 501), 400, 92010129002004)

    async def test_repeated(self) -> None:
        """The same Idempotency-Key is the same event; with another body it is refused."""
        event = {"type": "call-incoming", "data": "1234567"}
        first = await self.put("/v2/interactions", self.trigger, event, Idempotency_Key="k1")
        again = await self.put("/v2/interactions", self.trigger, event, Idempotency_Key="k1")
        self.assertEqual((again.status, again.entity["id"]), (201, first.entity["id"]))
        other = await self.put("/v2/interactions", self.trigger, {**event, "data": "7654321"}, Idempotency_Key="k1")
        self.refused(other, 409, 93000129006002)

    async def test_linked(self) -> None:
        """Linking an unknown number to a contact makes the next call known."""
        unknown = await self.event(data="+49 30 123456")
        self.assertNotIn("person", unknown)
        path = "/v2/interactions/%d" % unknown["id"]
        self.refused(await self.post(path, self.me, {"person": {"id": self.acme["id"]}}), 404, 91060119003003)
        self.refused(await self.post(path, self.me, {"organization": {"id": self.ada["id"]}}), 404, 91050119003003)
        linked = await self.post(path, self.me, {
            "personId": self.ada["id"], "status": "answered", "externalSystem": {"name": "crm", "entityId": "7"}})
        self.assertEqual((linked.status, linked.entity["person"]["displayName"], linked.entity["status"]), (200, "Ada", "answered"), linked.json)
        self.assertEqual(linked.entity["externalSystems"], [{"systemId": "crm", "entityId": "7"}])
        self.assertEqual((await self.event(data="030/123456"))["person"]["id"], self.ada["id"])
        contact = (await self.get("/v2/contacts/%d" % self.ada["id"], self.me)).json
        self.assertEqual((len(contact["basicInfos"]), contact["version"]), (2, 2))
        unlinked = await self.post(path, self.me, {"person": None})
        self.assertNotIn("person", unlinked.entity)

    async def test_progress(self) -> None:
        """The trigger device tells how its own call goes on, and nothing else; another's is not there."""
        stored = await self.event()
        path = "/v2/interactions/%d" % stored["id"]
        told = await self.post(path, self.trigger, {"status": "missed", "duration": 0})
        self.assertEqual((told.status, told.entity["status"]), (200, "missed"), told.json)
        self.refused(await self.post(path, self.trigger, {"customTags": "x"}), 400, 92010119002005)
        other = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "other"})).entity["triggerToken"]
        self.refused(await self.post(path, other, {"status": "missed"}), 404, 91100119001001)
        self.refused(await self.post(path, self.person(), {"status": "missed"}), 404, 91100119001001)
