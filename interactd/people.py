"""Accounts made by whoever runs the daemon: the first administrator and the commands of interactctl."""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path
from typing import TextIO

from attrs import frozen

from interactd.auth.ending import end_sessions
from interactd.auth.passwords import Passwords
from interactd.config import Auth
from interactd.db import Database, Row, Statement, Transaction, Violation
from interactd.migrate import LOCK
from interactd.refusals import Refusal

ROLES = ("user", "customer_admin", "interact_admin")
FIRST_ADMIN = "first-admin"         # the file in the state directory, removed by auth at the first login
FIRST_EMAIL = "admin@localhost"

HOLD_PREPARATION = Statement("hold_preparation", "SELECT pg_advisory_xact_lock(:lock::bigint)")

ANY_ADMIN = Statement("any_admin", "SELECT 1 FROM user_roles WHERE role = 'interact_admin' LIMIT 1")

FIND_COMPANY = Statement("find_company", "SELECT id FROM companies WHERE name = :name ORDER BY id LIMIT 1")

ADD_COMPANY = Statement("add_company", "INSERT INTO companies (name) VALUES (:name) RETURNING id")

ADD_ACCOUNT = Statement("add_account", """
WITH added AS (
  INSERT INTO users (email, password_hash, must_change, company_id)
  VALUES (:email, :password_hash, :must_change::boolean, :company_id::bigint) RETURNING id)
INSERT INTO user_roles (user_id, role) SELECT added.id, r FROM added, unnest(:roles::text[]) r
RETURNING user_id""")

LIST_ACCOUNTS = Statement("list_accounts", """
SELECT u.id, u.email, c.name, u.active, ARRAY(SELECT r.role FROM user_roles r WHERE r.user_id = u.id ORDER BY r.role)
FROM users u LEFT JOIN companies c ON c.id = u.company_id ORDER BY u.id""")

FIND_ACCOUNT = Statement("find_account", "SELECT id FROM users WHERE lower(email) = lower(:email)")

TAKE_ACCOUNT = Statement("take_account", "SELECT take(ARRAY[:user_id::bigint])")

SET_PASSWORD = Statement("set_account_password", """
UPDATE users SET password_hash = :password_hash, must_change = :must_change::boolean WHERE id = :user_id""")


@frozen
class Person:
    """An account to be made."""

    email: str
    password_hash: str
    roles: tuple[str, ...] = ("user",)
    company: str | None = None
    must_change: bool = False


def check_email(email: str) -> str:
    """The address, or Refusal."""
    if len(email) > 200 or not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise Refusal(f"{email!r} is no e-mail address such as erika@example.com")
    return email


def check_password(config: Auth, password: str) -> str:
    """The password, or Refusal (contract section 2)."""
    if not config.password_min <= len(password) <= 256:
        raise Refusal(f"a password has {config.password_min} to 256 characters")
    return password


def random_password() -> str:
    """A password of 96 random bits."""
    return secrets.token_urlsafe(12)


async def add(db: Database, person: Person) -> int:
    """The id of the new account; its company is made if there is none of that name. Refusal if the address is taken."""
    async def work(tx: Transaction) -> int:
        return await _added(tx, person)
    try:
        return await db.transaction("add_account", work)
    except Violation as violation:
        if violation.constraint != "users_email_key":
            raise
        raise Refusal(f"there is an account {person.email} already: change it with interactctl user password") from None


async def _added(tx: Transaction, person: Person) -> int:
    company_id = None
    if person.company is not None:
        rows = await tx.query(FIND_COMPANY, name=person.company) or await tx.query(ADD_COMPANY, name=person.company)
        company_id = rows[0][0]
    rows = await tx.query(ADD_ACCOUNT, email=person.email, password_hash=person.password_hash, must_change=person.must_change,
                          company_id=company_id, roles=list(person.roles))
    return int(rows[0][0])


async def everybody(db: Database) -> list[Row]:
    """(id, e-mail, company or None, active, roles) of every account."""
    return await db.query(LIST_ACCOUNTS)


async def set_password(db: Database, email: str, password_hash: str, must_change: bool) -> None:
    """Change an account's password, which ends its sessions at once. Refusal if there is no such account."""
    async def work(tx: Transaction) -> None:
        rows = await tx.query(FIND_ACCOUNT, email=email)
        if not rows:
            raise Refusal(f"there is no account {email}: interactctl user list shows them")
        user_id = rows[0][0]
        await tx.query(TAKE_ACCOUNT, user_id=user_id)
        await tx.query(SET_PASSWORD, user_id=user_id, password_hash=password_hash, must_change=must_change)
        await end_sessions(tx, user_id)
    await db.transaction("set_account_password", work)


@frozen
class FirstAdmin:
    """How the first administrator learns the password: on a terminal, or in a file only the daemon's account can read."""

    state: Path
    terminal: TextIO | None
    password: str

    @classmethod
    def new(cls, state: Path) -> FirstAdmin:
        """With a random password; the terminal is the one this process began with (twistd turns sys.stdout into its log)."""
        out = sys.__stdout__
        return cls(state, out if out is not None and out.isatty() else None, random_password())

    async def ensure(self, db: Database, passwords: Passwords) -> bool:
        """Whether there was no administrator, so that this one was made; of several nodes that start at once, one does it."""
        async def work(tx: Transaction) -> bool:
            await tx.query(HOLD_PREPARATION, lock=LOCK)
            if await tx.query(ANY_ADMIN):
                return False
            if self.terminal is None:
                self._write()
            password_hash = await passwords.hash(self.password)
            await _added(tx, Person(FIRST_EMAIL, password_hash, ("interact_admin",), must_change=True))
            return True
        made = await db.transaction("first_administrator", work)
        if made and self.terminal is not None:
            print(f"\nThe first administrator is {FIRST_EMAIL} with the password  {self.password}\n"
                  "(shown only now; the first login must set another one).\n", file=self.terminal, flush=True)
        return made

    def _write(self) -> None:
        place = self.state / FIRST_ADMIN
        place.unlink(missing_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{FIRST_EMAIL}\n{self.password}\n")
