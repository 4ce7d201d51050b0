"""Interactions over HTTP: events in, read, linked, told on by their trigger device."""
from __future__ import annotations

import time
from typing import Any

from interactd.changes import Changed
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

    async def test_contacts_sent(self) -> None:
        """Who it was says the number alone: contacts and basicInfos that an event names are ignored."""
        sent = {"person": {"id": self.acme["id"]}, "organizationId": self.acme["id"], "basicInfoId": 999999}
        stored = await self.event(**sent)
        self.assertEqual((stored["person"]["id"], stored["basicInfoId"]), (self.ada["id"], self.ada["basicInfos"][0]["id"]))
        self.assertNotIn("organization", stored)

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

    async def test_time(self) -> None:
        """Before 2000 or more than a day ahead is refused; the newest stands first, one ahead by when it came."""
        now = int(time.time() * 1000)
        for wrong in (946684799999, now + 90_000_000):
            self.refused(await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "time": wrong}), 400, 92010129002004)
        self.refused(await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "sentAt": "now"}), 400, 92010129002003)
        self.refused(await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "sentAt": 2**63}), 400, 92010129002004)
        self.refused(await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "sentAt": -2**63}), 400, 92010129002004)
        ahead = await self.event(time=now + 3_600_000)
        old = await self.event(time=now - 86_400_000, sentAt=now - 86_400_000)
        last = await self.event()
        self.assertEqual(ahead["time"], now + 3_600_000)
        self.assertEqual([i["id"] for i in (await self.get("/v2/interactions", self.me)).json], [last["id"], ahead["id"], old["id"]])
        page = (await self.get("/v2/interactions?offset=1&limit=1", self.me)).json
        self.assertEqual(([i["id"] for i in page["data"]], page["totalLength"]), ([ahead["id"]], 3))

    async def test_external_systems(self) -> None:
        """One or several, under `name` or `systemId`; the same message again is the same event; an update replaces them."""
        mail = {"type": "email-incoming", "data": "eva@example.org"}
        first = (await self.put("/v2/interactions", self.trigger, {**mail, "externalSystem": {"name": "imap", "entityId": "9"}})).entity
        self.assertEqual(first["externalSystems"], [{"systemId": "imap", "entityId": "9"}])
        again = await self.put("/v2/interactions", self.trigger, {**mail, "externalSystems": [{"systemId": "imap", "entityId": "9"}]})
        self.assertEqual((again.status, again.entity["id"]), (201, first["id"]))
        path = "/v2/interactions/%d" % first["id"]
        for wrong in ([{"name": "crm"}], [{"entityId": "1"}], [{"name": "", "entityId": "1"}], {"name": "crm"}, [{"name": "crm", "url": "x"}]):
            self.assertEqual((await self.post(path, self.me, {"externalSystems": wrong})).status, 400, wrong)
        two = [{"systemId": "crm", "threadId": "t"}, {"systemId": "im", "entityId": "e", "threadId": "t"}]
        self.assertEqual((await self.post(path, self.me, {"externalSystems": two})).entity["externalSystems"], two)
        self.assertEqual((await self.post(path, self.me, {"customTags": "a"})).entity["externalSystems"], two)
        self.assertEqual((await self.post(path, self.me, {"externalSystems": None})).entity["externalSystems"], [])

    async def test_excluded(self) -> None:
        """An event from an excluded number is answered as it was sent, and kept nowhere."""
        await self.put("/v2/basicInfos", self.me, {"type": "phone", "value": "030 99999", "excluded": True})
        reply = await self.put("/v2/interactions", self.trigger, {"type": "call-incoming", "data": "+49 30 99999"})
        self.assertEqual((reply.status, reply.json["devmsg"], "id" in reply.entity), (201, "excluded", False))
        self.assertEqual((await self.get("/v2/interactions", self.me)).json, [])

    async def test_linked_to_both(self) -> None:
        """With a person and an organization the number is the person's; linking is told to whoever listens."""
        heard: list[Changed] = []
        stranger = await self.event(data="+49 30 123456")
        self.parts.app.hub.subscribe(Changed, heard.append)
        linked = await self.post("/v2/interactions/%d" % stranger["id"], self.me, {"organizationId": self.acme["id"], "personId": self.ada["id"]})
        self.assertEqual((linked.entity["person"]["id"], linked.entity["organization"]["displayName"]), (self.ada["id"], "ACME"))
        self.assertEqual([(e.user_id, e.action, e.entity_type, e.entity_id) for e in heard], [(self.me.id, "update", "interaction", stranger["id"])])
        self.assertEqual(self.sql("SELECT contact_id FROM basic_infos WHERE id = %s", stranger["basicInfoId"]), [(self.ada["id"],)])
        unlinked = await self.post("/v2/interactions/%d" % stranger["id"], self.me, {"personId": None, "basicInfoId": None})
        self.assertEqual(unlinked.entity.keys() & {"person", "basicInfoId", "organization"}, {"organization"})
        self.assertEqual(self.sql("SELECT contact_id FROM basic_infos WHERE id = %s", stranger["basicInfoId"]), [(self.ada["id"],)])

    async def test_foreign(self) -> None:
        """What a body names must be one's own; what was refused changes nothing."""
        other = self.person()
        theirs = (await self.put("/v2/contacts", other, {"contactType": "person", "firstName": "Eva", "basicInfos": [
            {"type": "phone", "value": "030 5555555"}]})).entity
        stored = await self.event(data="+49 30 123456")
        path = "/v2/interactions/%d" % stored["id"]
        self.refused(await self.post(path, self.me, {"personId": theirs["id"]}), 404, 91060119003003)
        self.refused(await self.post(path, self.me, {"organizationId": theirs["id"]}), 404, 91050119003003)
        self.refused(await self.post(path, self.me, {"basicInfoId": theirs["basicInfos"][0]["id"], "status": "x"}), 404, 91020119003003)
        self.refused(await self.get(path, other), 404, 91100109001001)
        self.refused(await self.post(path, other, {"status": "x"}), 404, 91100119001001)
        self.assertEqual((await self.get(path, self.me)).json, stored)


class Shares(ApiCase):
    """A token's fair share of events."""

    settings = {"INTERACTD_LIMITS_EVENTS_BURST": "2", "INTERACTD_LIMITS_EVENTS_PER_SECOND": "0.01"}

    async def test_used_up(self) -> None:
        """Beyond it: 429 with Retry-After, for an array as for an event; each key counts with its place in the array."""
        made = await self.put("/v2/triggerDevices", self.person(), {"deviceId": "phone"})
        trigger, event = made.entity["triggerToken"], {"type": "sms-incoming", "data": "1234567"}
        self.refused(await self.put("/v2/interactions", trigger, []), 400, 92010129002002)
        stored = await self.put("/v2/interactions", trigger, [event, event], Idempotency_Key="k")
        ids = [entity["id"] for entity in stored.json["entities"]]
        self.assertEqual((stored.status, len(set(ids))), (201, 2))
        refused = await self.put("/v2/interactions", trigger, [event])
        self.assertEqual((refused.status, refused.json["entities"][0]["error"]), (429, 93000129002004))
        single = await self.put("/v2/interactions", trigger, event)
        self.refused(single, 429, 93000129002004)
        for reply in (refused, single):
            self.assertGreaterEqual(int(reply.headers.getRawHeaders("Retry-After")[0]), 1)
