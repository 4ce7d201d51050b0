"""The reset of a forgotten password: asked for by e-mail, done on a page that the mailed link opens (contract section 12)."""
from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from attrs import frozen

from interactd.api.answer import Answer, done
from interactd.api.call import PUBLIC, Transact, call
from interactd.api.context import Context, taking
from interactd.api.fields import plain as field
from interactd.api.fields import string
from interactd.auth.resets import PAGE
from interactd.auth.sessions import KEEP_ADDRESS
from interactd.auth.throttle import origin
from interactd.auth.tokens import digest
from interactd.changes import PasswordReset
from interactd.db import Statement, Step
from interactd.entities import users
from interactd.entities.account import NEW_PASSWORD, SECRET
from interactd.errors import Invalid, TooMany, Unavailable

DEAD = "the link is unknown, used, or too old: ask for a new one"
_GOOD = """r.token_hash = :token_hash AND r.expires_at > now()
  AND NOT EXISTS (SELECT 1 FROM password_resets n WHERE n.user_id = r.user_id AND n.id > r.id)"""
OWNER = Statement("reset_owner", f"SELECT r.user_id FROM password_resets r JOIN users u ON u.id = r.user_id WHERE u.active AND {_GOOD}")
USE = Statement("reset_use", f"""
WITH used AS (DELETE FROM password_resets r USING users u WHERE u.id = r.user_id AND u.active AND {_GOOD} RETURNING r.id)
SELECT refuse('IA400', '{DEAD}', '5002') WHERE NOT EXISTS (SELECT 1 FROM used)""")
ADDRESS = Statement("reset_address", "SELECT u.email, lower(u.email) FROM users u WHERE u.id = :user_id")


@frozen
class Forgotten:
    """Whose password is forgotten."""

    email: str = field(users.email, {"type": "string", "format": "email", "maxLength": 255}, "email", required=True)


@frozen
class NewPassword:
    """What the page sends: the token of the link, and the password."""

    token: str = field(lambda v: string(v, 200), SECRET, "token", required=True)
    new_password: str = field(users.password, SECRET, "new_password", required=True)


@call("POST", "/v2/myAccount", may=PUBLIC, realm=750, action=22, cmd="resetPwd", body=Forgotten, create=True, wrapped="done",
      example={"email": "test@interact.io"},
      refuses=(TooMany("too many resets asked for"), Unavailable("passwords can not be reset by mail here")))
async def reset_password(c: Context) -> Answer:
    """Have a link mailed by which a new password is set; the answer is the same for every address."""
    c.app.resets.ask(c.body["email"], c.asked.address)
    return done()


@call("GET", PAGE, may=PUBLIC, realm=750, action=22, name="resets.page", media=("text/html",), answer={"type": "string"})
async def page(c: Context) -> Answer:
    """The page that the link in the mail opens."""
    text, policy = _page()
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
               "X-Frame-Options": "DENY", "Cache-Control": "no-store"}
    return Answer(200, text, headers, "text/html; charset=utf-8")


@lru_cache(maxsize=1)
def _page() -> tuple[bytes, str]:
    """The page, and a policy under which its own script and style run, and nothing else."""
    text = files("interactd").joinpath("pages/reset.html").read_text(encoding="utf-8")
    allowed = {}
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[0]
        allowed[tag] = b64encode(sha256(inside.encode()).digest()).decode()
    return text.encode(), (f"default-src 'none'; script-src 'sha256-{allowed['script']}'; style-src 'sha256-{allowed['style']}'; img-src data:; "
                           "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


async def _opened(c: Context) -> None:
    c.body["token_hash"] = digest(c.body.pop("token"))
    found = await c.maybe(OWNER, token_hash=c.body["token_hash"])
    if found is None:
        raise Invalid(DEAD, detail=5002)
    c.body["user_id"], c.body["hash"] = found[0], await users.hash_of(c, "newPassword", c.body.pop("new_password"))


@call("POST", PAGE, may=PUBLIC, realm=750, action=22, name="resets.use", body=NewPassword, create=True, wrapped="done", transact=Transact.WRITE,
      example={"token": "gfUH43trfdkjg34", "newPassword": "$aFeP4Ssw0rD!"},
      prepare=_opened, refuses=(Invalid(DEAD, detail=5002),))
async def set_password(c: Context) -> Answer:
    """Set a new password by the token of a link, which is good once; all sessions end, and a mail says so."""
    user_id = c.body["user_id"]
    email, name = (await c.script(
        taking(user_id), Step(USE, {"token_hash": c.body["token_hash"]}), Step(NEW_PASSWORD, {"hash": c.body["hash"], "id": user_id}),
        Step(KEEP_ADDRESS, {"user_id": user_id, "address": origin(c.asked.address)}), Step(ADDRESS, {"user_id": user_id})))[0]
    answer = users.with_deactivated(done(), *await users.ended(c, user_id))
    c.announce(PasswordReset(user_id, email, name, c.asked.address))
    return answer


CALLS = (reset_password, page, set_password)
