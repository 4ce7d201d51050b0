"""Trigger tokens that a load knows beforehand: a key ring of one fixed key, and a salt made of the user's id."""
from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from psycopg2.extras import execute_values

from interactd.auth.tokens import spell
from interactd.auth.triggerkeys import TriggerKeys

KEY_ID, KEY = "load", bytes(range(32))
RING = TriggerKeys(Path("ring"), {KEY_ID: KEY})


@cache
def trigger_token(user: int) -> str:
    """The token of that user's phone."""
    return RING.token(_salt(user), KEY_ID)


def write(path: Path) -> None:
    """The key ring, where a daemon looks for it."""
    path.write_text(f"{KEY_ID} {spell(KEY)}\n")
    path.chmod(0o600)


def give(cursor: Any, users: range) -> None:
    """The users' trigger devices get their tokens."""
    rows = [(user, _salt(user), hashlib.sha256(trigger_token(user).encode()).digest()) for user in users]
    execute_values(cursor, f"UPDATE trigger_devices t SET salt = v.salt, token_hash = v.hash, key_id = '{KEY_ID}' "
                   "FROM (VALUES %s) v(owner, salt, hash) WHERE t.user_id = v.owner", rows, page_size=1000)


def _salt(user: int) -> bytes:
    return user.to_bytes(32, "big")
