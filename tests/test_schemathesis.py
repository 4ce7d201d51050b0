"""The running daemon against its own description: whatever that allows is asked, and no answer may be outside of it."""
from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.api_case import ApiCase

EXAMPLES = os.environ.get("INTERACTD_TEST_EXAMPLES", "20")          # of each operation, beside some hundred that cover its limits
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
SETTINGS = """
[generation]
allow-x00 = true
[phases.coverage]
unexpected-methods = []
"""


class Described(ApiCase):
    """schemathesis, always with the same questions, as an administrator with a trigger device."""

    timeout = 1500
    skip = None if find_spec("schemathesis") else "schemathesis is not installed (it is in the extra `test`)"
    settings = {"INTERACTD_LIMITS_EVENTS_BURST": "1000000", "INTERACTD_AUTH_LOGIN_ATTEMPTS": "1000000", "INTERACTD_LIMITS_SESSIONS": "100000"}

    async def test_every_operation(self) -> None:
        """No 500, no status, media type or body that the description does not have."""
        for _ in range(3):
            self.person(company=self.company())
        self.sql("ALTER TABLE users ALTER COLUMN id RESTART WITH 7000000000")          # an id that nobody guesses: not to delete oneself
        me = self.person("me@example.org", self.company("mine"), ("customer_admin", "interact_admin"))
        trigger = (await self.put("/v2/triggerDevices", me, {"deviceId": "trigger"})).entity["triggerToken"]
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "schemathesis.toml").write_text(SETTINGS)
        arguments = ["-m", "schemathesis.cli", "run",
                     f"http://127.0.0.1:{self.port}/v2/openapi.json", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing",
                     "--max-examples", EXAMPLES, "--generation-deterministic", "--continue-on-failure",
                     "--no-shrink", "--suppress-health-check", "all", "--warnings", "off", "--no-color",
                     "-H", f"authToken:{me.token}", "-H", f"triggerToken:{trigger}"]
        out, err, status = await getProcessOutputAndValue(sys.executable, arguments, env=os.environ, path=str(folder), reactor=reactor)
        self.assertEqual(status, 0, "\n" + (out + err).decode("utf-8", "replace")[-20000:])
