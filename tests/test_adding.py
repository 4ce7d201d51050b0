"""docs/adding-an-entity.md is true: its code is taken out of it, run and asked."""
from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

from twisted.internet import reactor

from interactd.api.app import Api
from interactd.api.openapi import document
from interactd.calls import CALLS
from interactd.sync.pull import __file__ as PULL
from tests.api_case import ApiCase

DOCUMENT = Path(__file__).parent.parent / "docs" / "adding-an-entity.md"


class Adding(ApiCase):
    """The worked example."""

    async def setUp(self) -> None:
        await super().setUp()
        text = DOCUMENT.read_text(encoding="utf-8")
        self.migration, self.tombstones, self.more = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
        self.module, self.entry, self.line = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.me = self.person()
        self.calls = CALLS

    def serve(self, name: str, source: str) -> Api:
        """A second API on the same parts, with the calls of the source added."""
        module = ModuleType(name)
        sys.modules[name] = module                  # attrs looks the class's module up
        self.addCleanup(sys.modules.pop, name)
        exec(compile(source, name, "exec"), vars(module))
        self.calls = (*(c for c in self.calls if (c.verb, c.path) not in {(m.verb, m.path) for m in module.CALLS}), *module.CALLS)
        api = Api(self.parts.app, self.calls)
        port = reactor.listenTCP(0, api.site(), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return api

    async def test_an_entity(self) -> None:
        """Created, read, changed, listed, deleted; refused in all the usual ways; kept apart; in the activity log and the description."""
        self.sql(self.migration)
        self.serve("reminders", self.module)
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity["id"]
        body = {"text": "call back", "due": 1360190188000, "contact": {"id": contact}}
        made = await self.put("/v2/reminders", self.me, body)
        shown = {"id": made.entity["id"], **body, "done": False, "contact": {"id": contact, "displayName": "Ada"}}
        self.assertEqual((made.status, made.entity), (201, shown))
        path = "/v2/reminders/%d" % made.entity["id"]
        changed = await self.post(path, self.me, {"done": True, "due": None})
        self.assertEqual(changed.entity, {k: v for k, v in {**shown, "done": True}.items() if k != "due"})
        self.assertEqual((await self.get("/v2/reminders", self.me)).json, [changed.entity])
        self.refused(await self.put("/v2/reminders", self.me, {**body, "text": 1}), 400, 92010124002003)
        self.refused(await self.put("/v2/reminders", self.me, {**body, "contact": {"id": 4711}}), 404, 91040124003003)
        self.refused(await self.get(path, self.person()), 404, 91000104001001)
        self.refused(await self.put("/v2/reminders", self.person(), body), 404, 91040124003003)
        self.assertEqual((await self.delete("/v2/reminders?ids=%d" % made.entity["id"], self.me)).json["code"], 204)
        self.assertEqual(self.sql("SELECT string_agg(action, ' ' ORDER BY id) FROM activities WHERE entity_type = 'reminder'"),
                         [("insert update delete",)])
        described = document(self.calls)
        self.assertEqual(described["components"]["schemas"]["ReminderNew"]["required"], ["text", "contact"])
        self.assertEqual(set(described["paths"]["/v2/reminders"]), {"put", "get", "delete"})

    async def test_synced(self) -> None:
        """With the constraint and the entry devices get it, its fields and its tombstones."""
        self.sql(self.migration)
        self.sql(self.tombstones)
        self.sql(self.more)
        source = self.module.replace("import boolean,", "import boolean, choice,").replace("    contact: Any", self.line + "    contact: Any")
        self.serve("reminders", source.replace("realm=400)", "realm=400, synced=True)"))
        pull = Path(PULL).read_text(encoding="utf-8").replace("import re\n", "import re\nimport reminders\n")
        self.serve("pulled", pull.replace("SYNCED = {", "SYNCED = {\n" + self.entry))
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity["id"]
        await self.put("/v2/devices", self.me, {"deviceId": "tablet"})
        made = (await self.put("/v2/reminders", self.me, {"text": "call back", "contact": {"id": contact}, "priority": "high"})).entity
        first = (await self.get("/v2/sync?deviceId=tablet", self.me)).json
        self.assertEqual(first["reminders"], [made])
        await self.delete("/v2/reminders/%d" % made["id"], self.me)
        then = (await self.get("/v2/sync?deviceId=tablet&cursor=" + first["cursor"], self.me)).json
        self.assertEqual((then["reminders"], then["deleted"]), ([], [{"id": made["id"], "type": "reminder"}]))

    async def test_a_field_more(self) -> None:
        """One line and one migration line: stored, defaulted, checked, answered, described."""
        self.sql(self.migration)
        self.sql(self.more)
        source = self.module.replace("import boolean,", "import boolean, choice,").replace("    contact: Any", self.line + "    contact: Any")
        self.assertEqual(len(source.splitlines()), len(self.module.splitlines()) + 1)
        self.serve("reminders_more", source)
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity["id"]
        body = {"text": "call back", "contact": {"id": contact}}
        self.assertEqual((await self.put("/v2/reminders", self.me, body)).entity["priority"], "normal")
        made = await self.put("/v2/reminders", self.me, {**body, "priority": "high"})
        self.assertEqual(made.entity["priority"], "high")
        changed = await self.post("/v2/reminders/%d" % made.entity["id"], self.me, {"priority": None})
        self.assertEqual(changed.entity["priority"], "normal")
        self.refused(await self.put("/v2/reminders", self.me, {**body, "priority": "urgent"}), 400, 92010124002003)
        described = document(self.calls)["components"]["schemas"]["ReminderNew"]["properties"]["priority"]
        self.assertEqual(described["enum"], ["low", "normal", "high", None])
