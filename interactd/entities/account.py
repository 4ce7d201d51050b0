"""Login, logout, one's own account (contract sections 2, 5 and 12)."""
from __future__ import annotations

from typing import Any

import orjson
from attrs import frozen

from interactd.api.answer import Answer, done, plain
from interactd.api.call import PASSWORD_DUE, PUBLIC, Transact, call
from interactd.api.context import Context, taking
from interactd.api.fields import choice
from interactd.api.fields import plain as field
from interactd.api.fields import string, text
from interactd.db import Statement, Step
from interactd.entities import users
from interactd.errors import Invalid, TooMany, Unauthenticated

SECRET = {"type": "string", "maxLength": 256, "writeOnly": True}
SAID = {**SECRET, "maxLength": 4096}
NEW_PASSWORD = Statement("account_new_password", "UPDATE users SET password_hash = :hash, must_change = false WHERE id = :id")


def said_password(value: Any) -> str:
    """A password as somebody says it: only new ones are measured, so one that nobody can have is wrong, not too long."""
    return string(value, 4096)


@frozen
class Credentials:
    """What a login takes."""

    username: str = text("username", 255, required=True)
    password: str = field(said_password, SAID, "password", required=True)
    scope: str = choice("scope", "csr", "device app", "trigger app", "web portal", required=True)


@frozen
class Goodbye:
    """What a logout takes."""

    auth_token: str = field(lambda v: string(v, 200), SECRET, "auth_token", required=True)


@frozen
class PasswordChange:
    """What changing one's password takes."""

    old_password: str = field(said_password, SAID, "old_password", required=True)
    new_password: str = field(users.password, SECRET, "new_password", required=True)


LOGIN_ANSWER: dict[str, Any] = {"type": "object", "required": ["user", "token"], "properties": {
    "user": users.User, "token": {"type": "object", "required": ["authToken", "expires"], "properties": {
        "authToken": {"type": "string"}, "expires": {"type": "integer", "format": "int64"}}}}}


@call("POST", "/v2/login", may=PUBLIC, realm=40, action=20, body=Credentials, create=True, answer=LOGIN_ANSWER,
      example={"username": "test@interact.io", "password": "iwonttellyou", "scope": "device app"},
      refuses=(Unauthenticated("credentials wrong, or the account is inactive", detail=5003), TooMany("too many failed logins, or sessions")))
async def login(c: Context) -> Answer:
    """Log in."""
    made = await c.app.sessions.login(c.body["username"], c.body["password"], c.body["scope"], c.asked.address, c.asked.headers.get("user-agent"))
    shown = (await c.one(users.ENTITY.get, id=made.user.id, company=None))[0]
    return plain(b'{"user":%b,"token":%b}' % (shown.encode(), orjson.dumps({"authToken": made.token, "expires": made.expires})))


@call("POST", "/v2/logout", may=PUBLIC, realm=40, action=21, body=Goodbye, create=True, wrapped="done",
      example={"authToken": "gfUH43trfdkjg34"},
      refuses=(Invalid("the token is unknown or expired", detail=5002),))
async def logout(c: Context) -> Answer:
    """Log out: the token is good no more, and its sockets close."""
    await c.app.sessions.logout(c.body["auth_token"])
    return done()


async def _proven(c: Context) -> None:
    if not await c.app.credentials.confirm(c.user.id, c.body.pop("old_password"), c.asked.address):
        raise Invalid("oldPassword is wrong", detail=5003)
    c.body["hash"] = await users.hash_of(c, "newPassword", c.body.pop("new_password"))


@call("POST", "/v2/myAccount", may=PASSWORD_DUE, realm=750, action=11, cmd="changePwd", body=PasswordChange, create=True, wrapped="done",
      example={"oldPassword": "bad", "newPassword": "$aFeP4Ssw0rD!"},
      transact=Transact.WRITE, prepare=_proven, refuses=(Invalid("oldPassword is wrong", detail=5003), TooMany("too many wrong passwords")))
async def change_password(c: Context) -> Answer:
    """Change one's password; every other session ends."""
    await c.script(taking(c.owner), Step(NEW_PASSWORD, {"hash": c.body["hash"], "id": c.user.id}))
    return users.with_deactivated(done(), *await users.ended(c, c.user.id, c.user.session_id))


CALLS = (login, logout, change_password)
