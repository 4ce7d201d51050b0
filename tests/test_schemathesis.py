"""The running daemon against its own description: whatever that allows is asked, and no answer may be outside of it.

schemathesis makes the requests and judges the answers, always the same ones. Its own program goes over the limits of every
attribute and parameter; random requests come from a loop of ours, which asks far more of them in the same time and knows which
rows there are.
"""
from __future__ import annotations

import copy
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from interactd.api.openapi import document
from interactd.calls import CALLS
from tests.api_case import ApiCase
from tests.import_case import Shelf
from tests.owning import MAKERS, Owner
from tests.test_tenancy import NAMES

EXAMPLES = int(os.environ.get("INTERACTD_TEST_EXAMPLES", "100"))      # random ones of each operation, beside some hundred that cover its limits
SEED = 20140728
ROWS = 5                                                              # of each kind
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance"]
SETTINGS = """
headers = {{ authToken = "{auth}" }}
[generation]
allow-x00 = true
[phases.coverage]
unexpected-methods = []
[[operations]]
include-name = "PUT /v2/interactions"
headers = {{ triggerToken = "{trigger}" }}
"""


class Described(ApiCase):
    """An administrator with a trigger device and a few rows of each kind; the operations are shared out among the tests."""

    timeout = 600
    skip = None if find_spec("schemathesis") else "schemathesis is not installed (it is in the extra `test`)"
    settings = {
        "INTERACTD_LIMITS_EVENTS_BURST": "1000000", "INTERACTD_AUTH_LOGIN_ATTEMPTS": "1000000", "INTERACTD_LIMITS_SESSIONS": "100000",
        "INTERACTD_HTTP_PUBLIC_URL": "https://interact.example", "INTERACTD_MAIL_SERVER": "mail.invalid", "INTERACTD_MAIL_FROM": "x@mail.invalid"}

    async def setUp(self) -> None:
        await super().setUp()
        for table in ("users", "sessions"):
            self.sql(f"ALTER TABLE {table} ALTER COLUMN id RESTART WITH 7000000000")          # ids that nobody guesses: not to delete oneself
        self.me = self.person("me@example.org", self.company("mine"), ("customer_admin", "interact_admin"))
        self.owner = Owner(self, self.me, self.me, "mine")
        self.parts.app.imports.systems["google"] = lambda username, password: Shelf()          # of the examples
        self.rows = {kind: [await self.owner.make(kind) for _ in range(ROWS)] for kind in MAKERS}

    async def test_random_1(self) -> None:
        """Random requests of a quarter of the operations."""
        await self.random(0, 4)

    async def test_random_2(self) -> None:
        """Random requests of another quarter."""
        await self.random(1, 4)

    async def test_random_3(self) -> None:
        """Random requests of another quarter."""
        await self.random(2, 4)

    async def test_random_4(self) -> None:
        """Random requests of the rest."""
        await self.random(3, 4)

    async def test_limits_1(self) -> None:
        """The limits of half of the operations, examples of the description, and what is wrong in one way."""
        await self.covered(0, 2)

    async def test_limits_2(self) -> None:
        """The same of the other half."""
        await self.covered(1, 2)

    async def random(self, part: int, parts: int) -> None:
        """Random requests, out of a thread, while the daemon runs here."""
        await deferToThread(self.fuzzed, part, parts)
        await self.get("/healthz")                                    # the reactor has seen that the connections are closed

    def fuzzed(self, part: int, parts: int) -> None:
        """In a thread: the operations of a part, one by one; what takes away comes last. Fails with the first fault of each."""
        import requests
        import schemathesis
        from schemathesis.checks import CHECKS as KNOWN
        from schemathesis.checks import load_all_checks
        load_all_checks()
        checks, faults, asked = KNOWN.get_by_names(CHECKS), [], 0
        with requests.Session() as session:
            described = session.get(f"http://127.0.0.1:{self.port}/v2/openapi.json").json()
            schema = schemathesis.openapi.from_dict(Narrowed(self.rows).document(described))
            operations = [found.ok() for found in schema.get_all_operations()][part::parts]
            for operation in sorted(operations, key=lambda one: bool(one.method == "delete")):
                event = operation.label == "PUT /v2/interactions"
                session.headers = {"triggerToken": self.owner.trigger} if event else {"authToken": self.me.token}
                count, fault = self._fuzz(operation, session, checks)
                asked += count
                faults += [f"{operation.label}: {fault}"] if fault else []
        self.assertEqual([], faults, "\n".join(faults)[:20000])
        self.assertGreaterEqual(asked, len(operations) * EXAMPLES // 2)

    def _fuzz(self, operation: Any, session: Any, checks: Any) -> tuple[int, str]:
        """How many random requests of an operation were made, and what is wrong with the first answer that is."""
        from hypothesis import HealthCheck, Phase, given, seed
        from hypothesis import settings as limits
        asked = 0

        @seed(SEED)
        @limits(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        @given(operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.validate_response(case.call(base_url=f"http://127.0.0.1:{self.port}", session=session), checks=checks)
        try:
            ask()
        except BaseException as error:        # schemathesis raises groups of its own
            if isinstance(error, KeyboardInterrupt):
                raise
            return asked, "".join([repr(error), *(str(one) for one in getattr(error, "exceptions", ()))])
        return asked, ""

    async def covered(self, part: int, parts: int) -> None:
        """The program's phases `examples` and `coverage`, with the operations of a part."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "schemathesis.toml").write_text(SETTINGS.format(auth=self.me.token, trigger=self.owner.trigger))
        names = [operation["operationId"] for path in document(CALLS)["paths"].values() for operation in path.values()]
        chosen = [word for name in names[part::parts] for word in ("--include-operation-id", name)]
        arguments = ["-m", "schemathesis.cli", "run", f"http://127.0.0.1:{self.port}/v2/openapi.json", "--checks", ",".join(CHECKS),
                     "--phases", "examples,coverage", "--generation-deterministic", "--continue-on-failure", "--no-shrink",
                     "--suppress-health-check", "all", "--warnings", "off", "--no-color", *chosen]
        out, err, status = await getProcessOutputAndValue(sys.executable, arguments, env=os.environ, path=str(folder), reactor=reactor)
        self.assertEqual(status, 0, "\n" + (out + err).decode("utf-8", "replace")[-20000:])


class Narrowed:
    """A description in which half of the ids are those of rows that are there, so that answers are more than 404.

    Who asks is settled, and `callback` has few values: its pattern costs more than all the rest, and tests of its own.
    """

    def __init__(self, rows: dict[str, list[int]]) -> None:
        self._rows = rows

    def document(self, described: dict[str, Any]) -> dict[str, Any]:
        """The description, narrowed."""
        told = copy.deepcopy(described)
        del told["components"]["securitySchemes"]
        for path, operations in told["paths"].items():
            for operation in operations.values():
                operation["security"] = []
                for parameter in operation["parameters"]:
                    parameter["schema"] = self._parameter(path.partition("/{")[0], parameter["name"], parameter["schema"])
                self._bodies(operation.get("requestBody", {}), "")
        for name, schema in told["components"]["schemas"].items():
            if name.endswith(("New", "Change", "Item")):
                self._bodies(schema, "")
        return told

    def _parameter(self, collection: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        there = self._rows.get(collection, [1])
        if name == "callback":
            return {"enum": ["told", "a.b", "$x"]}
        if name in ("ids", "groups"):
            ids = there if name == "ids" else self._rows["/v2/admin/groups"]
            return {"anyOf": [{"enum": [str(ids[0]), ",".join(map(str, ids[1:3]))]}, {"type": "string", "maxLength": 8}]}
        return {"anyOf": [{"enum": there}, schema]} if name == "id" else schema

    def _bodies(self, schema: Any, name: str) -> None:
        """Whole numbers that name rows, in place."""
        if isinstance(schema, list):
            for one in schema:
                self._bodies(one, name)
        elif isinstance(schema, dict):
            there = [1, 2] if name == "version" else [row for kind in NAMES.get(name, ()) for row in self._rows[kind]]
            if schema.get("type") in ("integer", ["integer", "null"]) and there:
                was = dict(schema)
                schema.clear()
                schema["anyOf"] = [{"enum": there}, was]
                return
            for key, inner in schema.items():
                self._within(key, inner, name)

    def _within(self, key: str, inner: Any, name: str) -> None:
        if key == "properties":
            for attribute, one in inner.items():
                self._bodies(one, name if attribute == "id" else attribute)
        elif key in ("anyOf", "allOf", "items", "content", "application/json", "schema"):
            self._bodies(inner, name)
