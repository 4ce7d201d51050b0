"""E-mail and password: who they belong to, told with the same work and the same words for every wrong pair."""

from collections.abc import Callable

from attrs import field, frozen

from interactd.auth.passwords import Passwords
from interactd.auth.throttle import Attempt, Throttle, origin
from interactd.db import Database, Statement, one
from interactd.errors import Unauthenticated

# `known`: it logged in from this address before. The account's name is folded by PostgreSQL, as its unique index does.
ACCOUNT_BY_EMAIL = Statement("account_by_email", """
SELECT lower(:email::text), u.id, u.password_hash, coalesce(u.active, false), u.auth_version, l.address IS NOT NULL
FROM (SELECT) nothing
LEFT JOIN users u ON lower(u.email) = lower(:email::text)
LEFT JOIN login_addresses l ON l.user_id = u.id AND l.address = :address::text""")

ACCOUNT_BY_ID = Statement("account_by_id", """
SELECT lower(u.email), u.id, u.password_hash, u.active, u.auth_version, l.address IS NOT NULL
FROM users u LEFT JOIN login_addresses l ON l.user_id = u.id AND l.address = :address::text
WHERE u.id = :user_id""")

REHASH = Statement("rehash_password", """
UPDATE users SET password_hash = :new WHERE id = :user_id AND password_hash = :old""")


def wrong_credentials() -> Unauthenticated:
    """The one answer for an unknown account, a wrong password and an inactive account."""
    return Unauthenticated("the username or the password is wrong", detail=5003)


@frozen
class Account:
    """What is known of an account before its password was checked; `id` is None where there is none of that name."""

    name: str = field(repr=False)
    id: int | None
    password_hash: str | None = field(repr=False)
    active: bool
    auth_version: int
    known: bool


class Credentials:
    """Checks passwords, counted by the login limits."""

    def __init__(self, db: Database, passwords: Passwords, throttle: Throttle, now: Callable[[], float]) -> None:
        self._db = db
        self._passwords = passwords
        self._throttle = throttle
        self._now = now      # monotonic seconds

    async def prove(self, email: str, password: str, address: str) -> Account:
        """The active account of this e-mail and password, else Unauthenticated 5003; TooMany over the limits."""
        self._throttle.screen(self._now(), address)
        account = Account(*one(await self._db.query(ACCOUNT_BY_EMAIL, email=email.replace("\0", ""), address=origin(address))))
        if not await self._matches(account, password, address):
            raise wrong_credentials()
        await self._renew_hash(account, password)
        return account

    async def confirm(self, user_id: int, password: str, address: str) -> bool:
        """Whether this is the user's present password; counted like a login, so TooMany over the limits."""
        rows = await self._db.query(ACCOUNT_BY_ID, user_id=user_id, address=origin(address))
        return bool(rows) and await self._matches(Account(*rows[0]), password, address)

    def forgive(self, name: str, address: str) -> None:
        """The account's owner has set a new password from this address: slips there count no more."""
        self._throttle.forgive(name, address)

    async def _matches(self, account: Account, password: str, address: str) -> bool:
        admitted: list[Attempt] = []

        def admit() -> None:
            admitted.append(self._throttle.admit(self._now(), account.name, address, account.known))

        right = False
        try:
            right = await self._passwords.check(account.password_hash, password, admit) and account.active
        finally:
            # One who hangs up during the work has caused it all the same, and counts as wrong.
            for attempt in admitted:
                if right:
                    self._throttle.passed(attempt)
                else:
                    self._throttle.failed(self._now(), attempt)
        return right

    async def _renew_hash(self, account: Account, password: str) -> None:
        """Keep a right password with the configured cost, if its hash was made with another."""
        old = account.password_hash
        if old is not None and self._passwords.outdated(old):
            await self._db.query(REHASH, user_id=account.id, old=old, new=await self._passwords.hash(password))
