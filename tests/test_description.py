"""The API's description, the page that shows it, and the probes."""
from __future__ import annotations

import json
import re

from benchmarks.processes import free_port
from interactd.api.openapi import grouped
from interactd.calls import CALLS
from tests.api_case import ApiCase


class Description(ApiCase):
    """`/v2/openapi.json` and `/docs`."""

    async def test_every_documented_call_is_there(self) -> None:
        """Each with its name, its answer, its errors; every reference leads somewhere."""
        reply = await self.get("/v2/openapi.json")
        self.assertEqual((reply.status, reply.json["openapi"]), (200, "3.1.0"))
        names = {o["operationId"] for path in reply.json["paths"].values() for o in path.values()}
        self.assertEqual(names, {group[0].name for group in grouped(CALLS)})
        made = reply.json["components"]["schemas"]
        referred = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(reply.json)))
        self.assertEqual(referred - set(made), set())
        note = reply.json["paths"]["/v2/notes"]["put"]
        self.assertEqual(note["requestBody"]["content"]["application/json"]["schema"], {"$ref": "#/components/schemas/NoteNew"})
        self.assertEqual(made["NoteNew"]["required"], ["message", "relatedTo"])
        self.assertEqual(made["NoteNew"]["properties"]["message"], {"type": "string", "maxLength": 10000, "minLength": 1})
        self.assertEqual(made["NoteChange"]["properties"]["message"]["type"], "string")
        self.assertIn("94010124005002", note["responses"]["401"]["description"])
        self.assertEqual(note["security"], [{"authToken": []}, {"bearer": []}])

    async def test_nothing_is_left_out(self) -> None:
        """Each operation says what it does and what it answers, each parameter has an example, each error its codes and schema."""
        reply, faults = await self.get("/v2/openapi.json"), []
        for path, operations in reply.json["paths"].items():
            for verb, one in operations.items():
                faults += [f"{verb} {path}: {key} is not said" for key in ("summary", "tags", "operationId", "responses") if not one.get(key)]
                faults += [f"{verb} {path}: {p['name']} has no example" for p in one["parameters"] if not ("example" in p or "enum" in p["schema"])]
                for status, answer in one["responses"].items():
                    told = [content["schema"] or media.startswith("image/") for media, content in answer.get("content", {}).items()]
                    if status not in ("101", "304") and not (told and all(told)):
                        faults.append(f"{verb} {path}: what {status} holds is not said")
                    if status >= "400" and not re.match(r"\d{14} ", answer["description"]):
                        faults.append(f"{verb} {path}: {status} has no codes")
        self.assertEqual([], faults, "\n".join(faults))

    async def test_calls_of_one_path_and_verb(self) -> None:
        """They are one operation with a `cmd`, which must be given where no call goes without."""
        paths = (await self.get("/v2/openapi.json")).json["paths"]
        roles = paths["/v2/admin/users/{id}/roles"]["post"]
        commands = [(p["required"], p["schema"]["enum"]) for p in roles["parameters"] if p["name"] == "cmd"]
        self.assertEqual(commands, [(True, ["add", "remove", "set"])])
        contact = paths["/v2/contacts/{id}"]["post"]
        self.assertEqual([(p["required"], p["schema"]["enum"]) for p in contact["parameters"] if p["name"] == "cmd"], [(False, ["share"])])

    async def test_the_page_needs_nothing_from_elsewhere(self) -> None:
        """All that it names is served here, and names no other address."""
        page = await self.get("/docs")
        self.assertEqual((page.status, page.headers.getRawHeaders("content-type")), (200, ["text/html; charset=utf-8"]))
        links = re.findall(r'(?:src|href)="([^"]+)"', page.raw.decode())
        self.assertEqual([link for link in links if not link.startswith("/")], ["data:,"])
        for link in links[:1] + links[2:]:
            part = await self.get(link)
            self.assertEqual((part.status, bool(part.raw)), (200, True), link)
        self.assertIn(b'url: "/v2/openapi.json"', (await self.get("/docs/start.js")).raw)
        self.assertIn("default-src 'self'", (page.headers.getRawHeaders("content-security-policy") or [""])[0])


class BehindAPrefix(ApiCase):
    """A public address with a path of its own."""

    settings = {"INTERACTD_HTTP_PUBLIC_URL": "https://example.org/interact/"}

    async def test_the_page_names_it(self) -> None:
        """The page's parts are asked for under the prefix."""
        self.assertIn(b'src="/interact/docs/start.js"', (await self.get("/docs")).raw)

    async def test_the_description_names_it(self) -> None:
        """Its paths stand below the prefix."""
        self.assertEqual((await self.get("/v2/openapi.json")).json["servers"], [{"url": "/interact"}])


class Probes(ApiCase):
    """`/healthz`, `/readyz`, `/metrics`."""

    async def test_alive_and_ready(self) -> None:
        """Both answer without credentials; a node that has not reached the bus, or finds a newer schema, is not ready."""
        self.assertEqual((await self.get("/healthz")).json, {"alive": True})
        while "bus" in (ready := (await self.get("/readyz")).json).get("devmsg", ""):
            pass
        self.assertEqual(ready, {"ready": True})
        self.sql("INSERT INTO schema_versions (version, name, checksum) VALUES (9999, 'newer', '')")
        self.refused(await self.get("/readyz"), 503, 90020100001001)
        self.assertEqual((await self.get("/healthz")).status, 200)

    async def test_metrics(self) -> None:
        """A neighbour reads them; whoever comes through a proxy that is not trusted does not."""
        await self.get("/healthz")
        mine = await self.get("/metrics")
        self.assertEqual(mine.status, 200)
        self.assertIn(b'interactd_answers_total{call="probe.alive",status="200"}', mine.raw)
        self.refused(await self.get("/metrics", X_Forwarded_For="127.0.0.1"), 403, 94020100004004)


class NoNeighbours(ApiCase):
    """`[http] metrics-from` and trusted proxies."""

    settings = {"INTERACTD_HTTP_METRICS_FROM": "192.0.2.0/24", "INTERACTD_HTTP_TRUSTED_PROXIES": "127.0.0.1"}

    async def test_who_is_named(self) -> None:
        """The client behind a trusted proxy counts."""
        self.refused(await self.get("/metrics"), 403, 94020100004004)
        self.refused(await self.get("/metrics", X_Forwarded_For="198.51.100.7"), 403, 94020100004004)
        self.assertEqual((await self.get("/metrics", X_Forwarded_For="192.0.2.7")).status, 200)


class Apart(ApiCase):
    """A node whose bus is not there."""

    settings = {"INTERACTD_BUS_URL": f"redis://127.0.0.1:{free_port()}"}

    async def test_not_ready(self) -> None:
        """It answers calls, and says that it is not ready."""
        self.refused(await self.get("/readyz"), 503, 90020100001001)
        self.assertEqual((await self.get("/healthz")).status, 200)
