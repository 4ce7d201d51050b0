"""A forgotten password: asked for, mailed, set on the page, and everything that must not be possible on the way."""
from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import psycopg2
from twisted.internet.defer import Deferred

from interactd.auth.passwords import hash_password
from interactd.changes import Ended
from interactd.db import Statement
from interactd.metrics import MAILS
from tests.api_case import ApiCase, Reply
from tests.auth_case import CHEAP
from tests.mail_case import PASSWORD, SENDER, USER, Taken, office

OLD, NEW = "old-password-1", "new-password-2"
NOTHING = Statement("nothing", "SELECT 1")


class Resets(ApiCase):
    """A daemon that sends by a real server; ann has an account."""

    async def setUp(self) -> None:
        self.office = office(self)
        mail = self.office.settings()
        self.settings = {
            "INTERACTD_HTTP_PUBLIC_URL": "https://interact.example/app", "INTERACTD_MAIL_SERVER": mail.server,
            "INTERACTD_MAIL_PORT": str(mail.port), "INTERACTD_MAIL_USER": USER, "INTERACTD_MAIL_PASSWORD": PASSWORD,
            "INTERACTD_MAIL_FROM": SENDER, "INTERACTD_MAIL_CA_FILE": str(mail.ca_file), **self.more}
        await super().setUp()
        self.ann = self.account("Ann@example.org")

    more: dict[str, str] = {}

    def account(self, email: str, active: bool = True) -> int:
        """The id of a new account."""
        return int(self.sql("INSERT INTO users (email, password_hash, active) VALUES (%s, %s, %s) RETURNING id",
                            email, hash_password(CHEAP, OLD), active)[0][0])

    async def forget(self, email: str = "ann@EXAMPLE.org") -> Reply:
        """Ask for a reset."""
        return await self.post("/v2/myAccount?cmd=resetPwd", None, {"email": email})

    async def link(self, email: str = "ann@EXAMPLE.org") -> str:
        """The token of a link that was asked for and has arrived."""
        self.assertEqual((await self.forget(email)).json, {"code": 200, "devmsg": "success"})
        return self.token_in(await self.office.next())

    def token_in(self, mail: Taken) -> str:
        """The token in a mail's link."""
        found = re.findall(r"^https://interact\.example/app/resetPassword#([\w-]{43})$", mail.text, re.MULTILINE)
        self.assertEqual(len(found), 1, mail.text)
        return str(found[0])

    async def set_by(self, token: str, password: str = NEW) -> Reply:
        """What the page does."""
        return await self.post("/resetPassword", None, {"token": token, "newPassword": password})

    async def login(self, password: str, email: str = "ann@example.org") -> Reply:
        return await self.post("/v2/login", None, {"username": email, "password": password, "scope": "device app"})

    async def settled(self) -> None:
        """All that was asked for has been looked up: a later request's mail has arrived."""
        self.account("last@example.org")
        self.assertEqual((await self.forget("last@example.org")).status, 200)
        self.assertEqual((await self.office.next()).to, ["last@example.org"])


class Ordinary(Resets):
    """What works."""

    async def test_the_whole_way(self) -> None:
        """A link to the account's own address; the new password counts; the old one, all sessions and their devices are gone."""
        told: list[Ended] = []
        self.parts.app.hub.subscribe(Ended, told.append)
        token = (await self.login(OLD)).json["token"]["authToken"]
        device = (await self.put("/v2/devices", None, {"deviceId": "phone"}, authToken=token)).entity["id"]
        self.assertEqual((await self.forget()).json, {"code": 200, "devmsg": "success"})
        mail = await self.office.next()
        self.assertEqual((mail.to, mail.sender, mail.message["From"]), (["Ann@example.org"], SENDER, SENDER))
        self.assertIn("60 minutes", mail.text)
        secret = self.token_in(mail)
        kept = self.sql("SELECT token_hash, expires_at - now() > interval '59 minutes' FROM password_resets")
        self.assertEqual([(bytes(h), long) for h, long in kept], [(sha256(secret.encode()).digest(), True)])
        self.assertEqual((await self.set_by(secret)).json, {
            "code": 200, "devmsg": "success", "deactivated": {"devices": [device], "triggerDevices": []}})
        self.assertEqual([(e.user_id, e.session_ids, e.device_ids) for e in told], [(self.ann, None, (device,))])
        notice = await self.office.next()
        self.assertEqual((notice.to, notice.message["Subject"]), (["Ann@example.org"], "Your password was changed"))
        self.assertNotIn("#", notice.text)
        self.refused(await self.get("/v2/notes", None, authToken=token), 401, 94010104005002)
        self.refused(await self.login(OLD), 401, 94010200405003)
        self.assertEqual((await self.login(NEW)).status, 200)
        self.assertEqual(self.sql("SELECT count(*) FROM password_resets"), [(0,)])

    async def test_once(self) -> None:
        """A link works once, also for two who use it at the same time."""
        token = await self.link()
        both = [Deferred.fromCoroutine(self.set_by(token, NEW + str(n))) for n in range(2)]
        self.assertEqual(sorted([(await both[0]).status, (await both[1]).status]), [200, 400])
        self.refused(await self.set_by(token), 400, 92010227505002)

    async def test_only_the_newest(self) -> None:
        """An older link is good no more, nor one that is too old."""
        first, second = await self.link(), await self.link()
        self.refused(await self.set_by(first), 400, 92010227505002)
        self.sql("UPDATE password_resets SET expires_at = now()")
        self.refused(await self.set_by(second), 400, 92010227505002)
        self.refused(await self.set_by("x" * 43), 400, 92010227505002)
        self.assertEqual((await self.login(OLD)).status, 200)

    async def test_a_password_too_short_costs_no_link(self) -> None:
        """400 that names it; then the same link works."""
        token = await self.link()
        short = await self.set_by(token, "12345")
        self.refused(short, 400, 92010227502004)
        self.assertEqual(short.json["details"][0]["attribute"], "newPassword")
        self.assertEqual((await self.set_by(token)).status, 200)

    async def test_whatever_ends_the_sessions_ends_the_links(self) -> None:
        """An administrator's new e-mail or password, deactivation, wiping, one's own change of password."""
        root = self.person(roles=("interact_admin",))
        path = f"/v2/admin/users/{self.ann}"
        for change in ({"email": "ann2@example.org"}, {"email": "ann@example.org"}, {"password": OLD}, {"active": False}):
            token = await self.link((self.sql("SELECT email FROM users WHERE id = %s", self.ann)[0][0]))
            self.assertEqual((await self.post(path, root, change)).status, 200)
            self.refused(await self.set_by(token), 400, 92010227505002)
        self.sql("UPDATE users SET active = true")
        token = await self.link("ann@example.org")
        self.assertEqual((await self.post(path + "?cmd=wipeAccount", root)).status, 200)
        self.refused(await self.set_by(token), 400, 92010227505002)
        token = await self.link("ann@example.org")
        session = (await self.login(OLD)).json["token"]["authToken"]
        change = {"oldPassword": OLD, "newPassword": NEW}
        self.assertEqual((await self.post("/v2/myAccount?cmd=changePwd", None, change, authToken=session)).status, 200)
        self.refused(await self.set_by(token), 400, 92010227505002)

    async def test_an_account_that_is_being_switched_off(self) -> None:
        """A request waits for who changes the account, and then finds it inactive: no mail."""
        rival = psycopg2.connect(self.dsn)
        self.addCleanup(rival.close)
        with rival.cursor() as cursor:
            cursor.execute("UPDATE users SET active = false WHERE id = %s", (self.ann,))
        await self.forget()
        while not self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"):
            await self.parts.app.database.query(NOTHING)
        rival.commit()
        await self.settled()
        self.assertEqual(self.sql("SELECT count(*) FROM password_resets WHERE user_id = %s", self.ann), [(0,)])

    async def test_locked_out_by_slips(self) -> None:
        """Whoever slipped too often and then sets a new password may log in at once."""
        for _ in range(10):
            await self.login("slip")
        self.assertEqual((await self.login(OLD)).status, 429)
        self.assertEqual((await self.set_by(await self.link())).status, 200)
        self.assertEqual((await self.login(NEW)).status, 200)


class Silence(Resets):
    """What tells nothing."""

    async def test_the_same_answer_for_all(self) -> None:
        """Known, unknown, inactive: the same bytes, before anybody has looked; a mail for the known one alone."""
        self.account("gone@example.org", active=False)
        busy = [self.parts.app.database._idle.pop() for _ in range(len(self.parts.app.database._idle))]
        said = {(reply.status, reply.raw) for reply in [
            await self.forget(email) for email in ("ann@example.org", "nobody@example.org", "gone@example.org")]}
        self.assertEqual(said, {(200, b'{"code":200,"devmsg":"success"}')})
        for lane in busy:
            self.parts.app.database._give_back(lane)
        self.assertEqual((await self.office.next()).to, ["Ann@example.org"])
        await self.settled()
        self.refused(await self.forget("not an address"), 400, 92010227502003)

    async def test_limited_per_account_silently(self) -> None:
        """Three links at a time; a fourth request is answered as ever, and counted."""
        for _ in range(3):
            await self.link()
        before = MAILS.labels("dropped")._value.get()
        self.assertEqual((await self.forget()).json, {"code": 200, "devmsg": "success"})
        await self.settled()
        self.assertEqual((self.sql("SELECT count(*) FROM password_resets WHERE user_id = %s", self.ann),
                          MAILS.labels("dropped")._value.get() - before), ([(3,)], 1))

    async def test_the_page(self) -> None:
        """It loads nothing from elsewhere, runs only what it was made with, and keeps the token out of addresses and caches."""
        page = await self.get("/resetPassword")
        self.assertEqual((page.status, page.headers.getRawHeaders("content-type")), (200, ["text/html; charset=utf-8"]))
        policy = (page.headers.getRawHeaders("content-security-policy") or [""])[0]
        for tag in ("script", "style"):
            (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), page.raw, re.DOTALL)
            self.assertIn(f"{tag}-src 'sha256-{b64encode(sha256(inside).digest()).decode()}'", policy)
        for wanted in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"):
            self.assertIn(wanted, policy)
        self.assertEqual([page.headers.getRawHeaders(name) for name in ("referrer-policy", "cache-control")], [["no-referrer"], ["no-store"]])
        self.assertNotIn(b"http", page.raw)
        self.assertNotIn(b" style=", page.raw)
        self.assertEqual((await self.get("/resetPassword/")).raw, page.raw)


class PerClient(Resets):
    """Two an hour."""

    more = {"INTERACTD_MAIL_RESETS_PER_ADDRESS": "2"}

    async def test_limited_per_client(self) -> None:
        """429 with the time to wait, whoever's address is asked for."""
        self.assertEqual([(await self.forget(f"{n}@example.org")).status for n in range(2)], [200, 200])
        reply = await self.forget()
        self.refused(reply, 429, 93000227502004)
        (pause,) = reply.headers.getRawHeaders("retry-after") or ["0"]
        self.assertTrue(0 < int(pause) <= 1800, pause)


class Without(ApiCase):
    """A daemon without mail."""

    async def test_without_mail(self) -> None:
        """503 in a sentence that helps, for everybody; the page is there."""
        reply: Any = await self.post("/v2/myAccount?cmd=resetPwd", None, {"email": "ann@example.org"})
        self.refused(reply, 503, 90020227501001)
        self.assertEqual(reply.json["devmsg"], "passwords can not be reset by mail here, ask your administrator")
        self.assertEqual((await self.get("/resetPassword")).status, 200)
