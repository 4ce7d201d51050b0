"""A device that syncs: it applies each answer of GET /v2/sync as docs/sync.md says, and knows nothing else."""
from __future__ import annotations

from typing import Any
from urllib.parse import quote

from attrs import define, field

from tests.api_case import ApiCase, Person, Reply

#: the lists of an answer: the type that tombstones name, the call that lists the same
LISTS = {"contacts": ("contact", "/v2/contacts"), "deals": ("deal", "/v2/deals"), "interactions": ("interaction", "/v2/interactions"),
         "notes": ("note", "/v2/notes"), "taskLists": ("tasklist", "/v2/taskLists"), "tasks": ("task", "/v2/tasks")}
Things = dict[tuple[str, int], Any]


@define
class Replica:
    """What a device holds: each thing by type and id; the cursor it was given last."""

    who: Person
    device: str
    things: Things = field(factory=dict)
    cursor: str = ""

    def apply(self, answer: Any) -> None:
        """Takes an answer in."""
        if answer.get("full"):
            self.things.clear()
        for name, (kind, _) in LISTS.items():
            self.things.update({(kind, thing["id"]): thing for thing in answer[name]})
        for gone in answer["deleted"]:
            self.things.pop((gone["type"], gone["id"]), None)
        self.cursor = answer["cursor"]


class SyncCase(ApiCase):
    """Devices and what they get."""

    async def replica(self, who: Person, device: str = "tablet") -> Replica:
        """A new device that has nothing yet."""
        made = await self.put("/v2/devices", who, {"deviceId": device})
        self.assertEqual(made.status, 201, made.json)
        return Replica(who, device)

    async def pull(self, replica: Replica, **more: str) -> Reply:
        """The answer to a device, as it stands; `more` is said in the query."""
        said = "".join(f"&{name}={quote(value)}" for name, value in more.items())
        return await self.get(f"/v2/sync?deviceId={replica.device}{said}", replica.who)

    async def sync(self, replica: Replica) -> Any:
        """The answer that the device takes in; it says what it has by its cursor."""
        reply = await self.pull(replica, **({"cursor": replica.cursor} if replica.cursor else {}))
        self.assertEqual(reply.status, 200, reply.raw)
        replica.apply(reply.json)
        return reply.json

    async def everything(self, who: Person) -> Things:
        """What the API's lists show."""
        listed: Things = {}
        for kind, path in LISTS.values():
            found = (await self.get(path, who)).json
            listed.update({(kind, thing["id"]): thing for thing in (found["data"] if path == "/v2/contacts" else found)})
        return listed

    def same(self, replica: Replica, there: Things, about: str = "") -> None:
        """The device holds exactly what is there."""
        if replica.things == there:
            return
        faults = [f"{key}: has {replica.things.get(key)}\n  instead of {there.get(key)}"
                  for key in sorted(replica.things.keys() | there.keys()) if replica.things.get(key) != there.get(key)]
        self.fail(f"{about}: {replica.who.email}\n" + "\n".join(faults))
