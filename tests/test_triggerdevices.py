"""Trigger devices over HTTP: their tokens, who sees them, who may have a switchboard."""
from __future__ import annotations

from interactd.auth.tokens import digest
from tests.api_case import ApiCase, Person

EVENT = {"type": "call-incoming", "data": "1234567"}


class TriggerDevices(ApiCase):
    """The calls."""

    settings = {"INTERACTD_LIMITS_DEVICES": "2"}

    async def setUp(self) -> None:
        await super().setUp()
        self.me = self.person(company=self.company())

    def session(self, scope: str = "trigger app") -> Person:
        """Another session of `me`."""
        return Person(self.me.id, self.me.email, self.token(self.me.id, scope), self.me.company)

    async def test_token(self) -> None:
        """It is read again as often as one likes, and stands nowhere in the database."""
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "imei+1"})
        token = made.entity.pop("triggerToken")
        self.assertEqual((made.status, made.entity), (201, {"id": made.entity["id"], "deviceId": "imei+1", "switchboard": False, "active": True}))
        self.assertEqual((await self.get("/v2/triggerDevices?deviceId=imei+1", self.me)).json, {"triggerToken": token})
        self.assertEqual((await self.get("/v2/triggerDevices", self.me)).json, [made.entity])
        self.assertEqual(self.sql("SELECT token_hash FROM trigger_devices")[0][0].tobytes(), digest(token))
        self.assertNotIn(token, str(self.sql("SELECT t::text FROM trigger_devices t UNION ALL SELECT a::text FROM activities a")))
        self.assertEqual((await self.put("/v2/interactions", token, EVENT)).status, 201)

    async def test_faults(self) -> None:
        """Each fault has its own code; what was read may be sent back."""
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "a"})
        self.refused(await self.put("/v2/triggerDevices", self.me, {"deviceId": "a"}), 400, 93020126016002)
        self.refused(await self.put("/v2/triggerDevices", self.me, {}), 400, 92020126012001)
        self.refused(await self.put("/v2/triggerDevices", self.me, {"deviceId": "b", "imei": 1}), 400, 92010126012005)
        self.refused(await self.get("/v2/triggerDevices?deviceId=no", self.me), 404, 91080106011001)
        self.refused(await self.get("/v2/triggerDevices?deviceId=a", self.person()), 404, 91080106011001)
        self.refused(await self.get("/v2/triggerDevices?deviceId=a"), 401, 94010106015001)
        self.assertEqual((await self.put("/v2/triggerDevices", self.me, {**made.entity, "deviceId": "b"})).status, 201)
        self.refused(await self.put("/v2/triggerDevices", self.me, {"deviceId": "c"}), 400, 92010126012004)

    async def test_renew(self) -> None:
        """The old token is good no more; an inactive device works again with its new one."""
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "a"})
        path = "/v2/triggerDevices/%d" % made.entity["id"]
        self.refused(await self.post(path, self.me), 400, 92020116012001)
        self.refused(await self.post(path + "?cmd=reset", self.me), 400, 92010116012005)
        self.refused(await self.post(path + "?cmd=renew", self.person()), 404, 91080116011001)
        self.sql("UPDATE trigger_devices SET active = false")
        self.refused(await self.put("/v2/interactions", made.entity["triggerToken"], EVENT), 401, 94010129005002)
        renewed = await self.post(path + "?cmd=renew", self.me)
        self.assertEqual((renewed.status, renewed.entity["active"]), (200, True))
        self.refused(await self.put("/v2/interactions", made.entity["triggerToken"], EVENT), 401, 94010129005002)
        self.assertEqual((await self.put("/v2/interactions", renewed.entity["triggerToken"], EVENT)).status, 201)
        self.assertEqual((await self.get("/v2/triggerDevices?deviceId=a", self.me)).json, {"triggerToken": renewed.entity["triggerToken"]})

    async def test_revoke(self) -> None:
        """A deleted device's token is good no more, at once."""
        made = await self.put("/v2/triggerDevices", self.me, {"deviceId": "a"})
        path, token = "/v2/triggerDevices/%d" % made.entity["id"], made.entity["triggerToken"]
        self.assertEqual((await self.put("/v2/interactions", token, EVENT)).status, 201)
        self.refused(await self.delete(path, self.person()), 404, 91080146011001)
        self.assertEqual((await self.delete(path, self.me)).json, {"code": 204, "devmsg": "success"})
        self.refused(await self.put("/v2/interactions", token, EVENT), 401, 94010129005002)
        self.refused(await self.delete(path, self.me), 404, 91080146011001)

    async def test_trigger_app(self) -> None:
        """It registers and reads its own trigger devices, and nothing else."""
        app, other = self.session(), self.session()
        theirs = (await self.put("/v2/triggerDevices", self.me, {"deviceId": "theirs"})).entity
        mine = (await self.put("/v2/triggerDevices", app, {"deviceId": "mine"})).entity
        token = mine.pop("triggerToken")
        self.assertEqual((await self.get("/v2/triggerDevices", app)).json, [mine])
        self.assertEqual((await self.get("/v2/triggerDevices?deviceId=mine", app)).json, {"triggerToken": token})
        self.assertEqual((await self.get("/v2/triggerDevices", other)).json, [])
        self.refused(await self.get("/v2/triggerDevices?deviceId=theirs", app), 404, 91080106011001)
        self.assertEqual([d["id"] for d in (await self.get("/v2/triggerDevices", self.me)).json], [theirs["id"], mine["id"]])
        self.refused(await self.delete("/v2/triggerDevices/%d" % mine["id"], app), 403, 94020146014004)
        self.refused(await self.post("/v2/triggerDevices/%d?cmd=renew" % mine["id"], app), 403, 94020116014004)
        self.refused(await self.get("/v2/devices", app), 403, 94020106004004)

    async def test_switchboard(self) -> None:
        """It takes a customer_admin of a company, and routes by the receiver's e-mail."""
        body = {"deviceId": "pbx", "switchboard": True}
        self.refused(await self.put("/v2/triggerDevices", self.me, body), 403, 94020126014004)
        self.refused(await self.put("/v2/triggerDevices", self.person(roles=("customer_admin",)), body), 403, 94020126014004)
        self.refused(await self.put("/v2/triggerDevices", self.person(roles=("interact_admin",)), body), 403, 94020126014004)
        admin = self.person(company=self.me.company, roles=("customer_admin",))
        made = await self.put("/v2/triggerDevices", admin, body)
        self.assertEqual((made.status, made.entity["switchboard"]), (201, True))
        stored = (await self.put("/v2/interactions", made.entity["triggerToken"], {**EVENT, "receiverId": self.me.email})).entity
        self.assertEqual([i["id"] for i in (await self.get("/v2/interactions", self.me)).json], [stored["id"]])
        self.assertEqual((await self.get("/v2/interactions", admin)).json, [])
        told = await self.post("/v2/interactions/%d" % stored["id"], made.entity["triggerToken"], {"status": "missed"})
        self.assertEqual((told.status, set(told.entity)), (200, {"id", "type", "data", "time", "receiverId"}))
        log = (await self.get("/v2/activities?limit=1", self.me)).json["data"][0]
        self.assertEqual((log["action"], log["entity"]["newState"]["status"], log["relatedTo"]["id"]), ("update", "missed", admin.id))
