"""A canary number, e-mail, password and tokens go through every call and through refusals; then no log holds any of them."""
from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from interactd.accounts import own_account
from interactd.calls import CALLS
from tests.daemons import Place

NUMBER, SPELLED = "+492332667998", "02332/66 79 98"
EMAIL, PASSWORD, NAME = "canary.bird@example.org", "canary-Password-7031", "Canarius"


class Canary(SynchronousTestCase):
    """A daemon with its embedded PostgreSQL, both logging all they would ever log."""

    def setUp(self) -> None:
        self.place = Place(self, own_account())
        self.place.environ.update(INTERACTD_LOG_ACCESS_SAMPLE="1", INTERACTD_LOG_LEVEL="debug")
        self.running = self.place.twistd()
        self.port = int(self.running.until(r"answers at .*?:(\d+)[;/]")[1])
        self.running.drain()

    def ask(self, verb: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer's JSON, or None."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(verb, path, None if body is None else json.dumps(body), headers)
            said = connection.getresponse().read()
            return json.loads(said) if said[:1] in (b"{", b"[") else None
        finally:
            connection.close()

    def test_no_log_holds_it(self) -> None:
        """Neither the daemon's output nor any file below the state directory but the database itself and the key ring."""
        admin = dict(zip(("username", "password"), (self.place.state / "first-admin").read_text().split()))
        token = self.ask("POST", "/v2/login", {**admin, "scope": "csr"})["token"]["authToken"]
        self.ask("POST", "/v2/myAccount?cmd=changePwd", {"oldPassword": admin["password"], "newPassword": PASSWORD}, authToken=token)
        for attempt in (EMAIL, EMAIL, EMAIL + "\u0000"):
            self.ask("PUT", "/v2/admin/users", {"email": attempt, "password": PASSWORD}, authToken=token)
        user = self.ask("POST", "/v2/login", {"username": EMAIL, "password": PASSWORD, "scope": "device app"})["token"]["authToken"]
        self.ask("POST", "/v2/login", {"username": EMAIL, "password": PASSWORD + "x", "scope": "device app"})
        contact = {"contactType": "person", "firstName": NAME,
                   "basicInfos": [{"type": "phone", "value": SPELLED}, {"type": "email", "value": EMAIL}]}
        self.assertEqual(self.ask("PUT", "/v2/contacts", contact, authToken=user)["code"], 201)
        trigger = self.ask("PUT", "/v2/triggerDevices", {"deviceId": "phone"}, authToken=user)["entity"]["triggerToken"]
        event = {"type": "call-incoming", "data": SPELLED, "externalSystems": [{"systemId": NAME, "entityId": NUMBER}]}
        for _ in range(2):
            self.assertEqual(self.ask("PUT", "/v2/interactions", event, triggerToken=trigger)["code"], 201)
        self.ask("PUT", "/v2/interactions", {**event, "data": [SPELLED]}, triggerToken=trigger)
        for call in CALLS:
            plain = call.path.replace(":id", "1")
            for path in (plain, plain + f"?value={NUMBER}&deviceId={NUMBER}&ids=7&{EMAIL}={PASSWORD}"):
                for body in (contact, {**event, "basicInfoId": 10**18, "email": EMAIL, "password": PASSWORD, "message": NUMBER}):
                    if not call.cmd or "wipe" not in call.cmd:
                        self.ask(call.verb, path, body, authToken=user if "logout" not in path else "x", triggerToken=trigger)
        self.assertIn(self.running.stop(), (0, -signal.SIGTERM))
        said = self.running.printed + "".join(file.read_text(errors="replace") for file in self.logs())
        self.assertIn("PUT /v2/contacts 201", said)
        digits = NUMBER.lstrip("+")
        for canary in (NUMBER, digits, digits[2:], SPELLED, EMAIL, PASSWORD, NAME, token, user, trigger, admin["password"]):
            self.assertNotIn(canary, said)

    def logs(self) -> list[Path]:
        """The files that are written for people to read."""
        data = self.place.state / "postgres" / "data"
        return [file for file in self.place.state.rglob("*")
                if file.is_file() and data not in file.parents and file.name not in ("trigger-keys", "first-admin")]
