"""A canary number, e-mail, password and tokens go through every call and through refusals; then no log holds any of them.

tests/leaks.py looks at what the rest of the suite has logged.
"""
from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from interactd.accounts import own_account
from interactd.api.call import Call
from interactd.calls import CALLS
from tests.daemons import Place
from tests.mail_case import PASSWORD as MAIL_PASSWORD
from tests.mail_case import SENDER, USER, Taken, office

NUMBER, SPELLED = "+492332667998", "02332/66 79 98"
EMAIL, PASSWORD, NAME = "canary.bird@example.org", "canary-Password-7031", "Canarius"


class Canary(SynchronousTestCase):
    """A daemon with its embedded PostgreSQL, both logging all they would ever log."""

    def setUp(self) -> None:
        self.place = Place(self, own_account())
        self.mails: SimpleQueue[Taken] = SimpleQueue()
        self.office = office(self, tell=self.mails.put)
        mail = self.office.settings()
        shutil.copy(str(mail.ca_file), self.place.folder / "authority.pem")
        self.place.environ.update(
            INTERACTD_LOG_ACCESS_SAMPLE="1", INTERACTD_LOG_LEVEL="debug", INTERACTD_HTTP_PUBLIC_URL="https://interact.example",
            INTERACTD_MAIL_SERVER=mail.server, INTERACTD_MAIL_PORT=str(mail.port), INTERACTD_MAIL_USER=USER, INTERACTD_MAIL_PASSWORD=MAIL_PASSWORD,
            INTERACTD_MAIL_FROM=SENDER, INTERACTD_MAIL_CA_FILE="authority.pem")
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
        reset = self.reset()
        user = self.ask("POST", "/v2/login", {"username": EMAIL, "password": PASSWORD, "scope": "device app"})["token"]["authToken"]
        self.ask("POST", "/v2/login", {"username": EMAIL, "password": PASSWORD + "x", "scope": "device app"})
        contact = {"contactType": "person", "firstName": NAME,
                   "basicInfos": [{"type": "phone", "value": SPELLED}, {"type": "email", "value": EMAIL}]}
        made = self.ask("PUT", "/v2/contacts", contact, authToken=user)
        self.assertEqual(made["code"], 201)
        key = self.picture(made["entity"]["id"], user)
        trigger = self.ask("PUT", "/v2/triggerDevices", {"deviceId": "phone"}, authToken=user)["entity"]["triggerToken"]
        event = {"type": "call-incoming", "data": SPELLED, "externalSystems": [{"systemId": NAME, "entityId": NUMBER}]}
        for _ in range(2):
            self.assertEqual(self.ask("PUT", "/v2/interactions", event, triggerToken=trigger)["code"], 201)
        self.ask("PUT", "/v2/interactions", {**event, "data": [SPELLED]}, triggerToken=trigger)
        for call in CALLS:
            if call.cmd != "wipeAccount":
                self.play(call, contact, event, {"authToken": user if "logout" not in call.path else "x", "triggerToken": trigger})
        self.assertIn(self.running.stop(), (0, -signal.SIGTERM))
        said = self.running.printed + "".join(file.read_text(errors="replace") for file in self.logs())
        for told in ("PUT /v2/contacts 201", "POST /resetPassword 400", "was refused: the server answered 550", "/image 200"):
            self.assertIn(told, said)
        digits = NUMBER.lstrip("+")
        planted = (NUMBER, digits, digits[2:], SPELLED, EMAIL, PASSWORD, NAME, MAIL_PASSWORD, admin["password"])
        for canary in (*planted, token, user, trigger, reset, key):
            self.assertNotIn(canary, said)

    def play(self, call: Call, contact: Any, event: Any, tokens: dict[str, str]) -> None:
        """A call with and without a query that nobody takes, and with bodies that some do."""
        bodies = [contact, {**event, "basicInfoId": 10**18, "email": EMAIL, "password": PASSWORD, "message": NUMBER}]
        if call.path == "/v2/import":
            bodies.append({"externalSystem": NAME, "username": EMAIL, "password": PASSWORD})
        path = call.path.replace(":id", "1") + f"?cmd={call.cmd}" * bool(call.cmd)
        for query in ("", f"{'&' if call.cmd else '?'}value={NUMBER}&deviceId={NUMBER}&ids=7&{EMAIL}={PASSWORD}"):
            for body in bodies:
                self.ask(call.verb, path + query, body, **tokens)

    def reset(self) -> str:
        """The password is forgotten, and set anew by the mailed link, which is used a second time; answers the link's token."""
        self.assertEqual(self.ask("POST", "/v2/myAccount?cmd=resetPwd", {"email": EMAIL})["code"], 200)
        found = re.search(r"#([\w-]{43})", self.mails.get(timeout=60).text)
        assert found is not None
        for code in (200, 400):
            self.assertEqual(self.ask("POST", "/resetPassword", {"token": found[1], "newPassword": PASSWORD})["code"], code)
        self.assertIn("changed", self.mails.get(timeout=60).message["Subject"])
        self.office.said = lambda step: f"550 no {EMAIL}"           # what a server says of an address stays out, too
        self.ask("POST", "/v2/myAccount?cmd=resetPwd", {"email": EMAIL})
        return found[1]

    def picture(self, contact: int, token: str) -> str:
        """A picture is uploaded and loaded by its address; answers the key in it."""
        base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
        made = self.ask("PUT", "/v2/pictures", {"contactId": contact, "base64": base64}, authToken=token)
        self.assertEqual(made["code"], 201, made)
        address = made["entity"]["url"].removeprefix("https://interact.example")
        self.ask("GET", address)
        self.ask("GET", address + "x")
        return str(address.rpartition("=")[2])

    def logs(self) -> list[Path]:
        """The files that are written for people to read."""
        data = self.place.state / "postgres" / "data"
        return [file for file in self.place.state.rglob("*")
                if file.is_file() and data not in file.parents and file.name not in ("trigger-keys", "first-admin")]
