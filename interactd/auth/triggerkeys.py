"""The keys from which the permanent tokens of trigger devices are derived; they stand in a file, never in the database.

The file has one line per key, `ID KEY` (KEY: 32 bytes in URL-safe base64); new devices get the last one. All nodes
need the same file. A token is HMAC-SHA256 over the random salt of its device.
"""

import hmac
import os
from base64 import urlsafe_b64decode
from pathlib import Path
from secrets import compare_digest, token_bytes, token_hex

from attrs import field, frozen

from interactd.auth.tokens import SIZE, digest, spell
from interactd.db import Database, Statement
from interactd.refusals import Refusal

_PURPOSE = b"interactd trigger token 1\0"

_ERASED = b"interactd erased person 1\0"

KEYS_OF_ERASED = Statement("keys_of_erased_people", "SELECT DISTINCT key_id FROM erased_people ORDER BY key_id")
ONE_DEVICE_PER_KEY = Statement("one_trigger_device_per_key", """
SELECT DISTINCT ON (key_id) key_id, salt, token_hash FROM trigger_devices ORDER BY key_id, id""")


class KeyRingError(Refusal):
    """Why the daemon must not start with this key file, in one sentence."""


@frozen
class NewToken:
    """What a trigger device's row keeps (all but `token`), and the token its owner gets."""

    key_id: str
    salt: bytes = field(repr=False)
    token: str = field(repr=False)
    token_hash: bytes = field(repr=False)


@frozen
class TriggerKeys:
    """The ring: makes the tokens of new trigger devices and tells those of old ones again."""

    path: Path
    _keys: dict[str, bytes] = field(repr=False)

    def token(self, salt: bytes, key_id: str) -> str:
        """The token of the device with this salt, the same at every call."""
        return spell(hmac.digest(self._keys[key_id], _PURPOSE + salt, "sha256"))

    def new(self) -> NewToken:
        """A token for a new device, by the newest key."""
        key_id, salt = self.newest, token_bytes(SIZE)
        token = self.token(salt, key_id)
        return NewToken(key_id, salt, token, digest(token))

    @property
    def newest(self) -> str:
        """The id of the key for what is new."""
        return next(reversed(self._keys))

    def marks(self, said: str) -> dict[str, bytes]:
        """What stands for a text that must not be kept: its keyed digest, by each key of the ring."""
        return {key_id: hmac.digest(key, _ERASED + said.encode("utf-8", "surrogatepass"), "sha256") for key_id, key in self._keys.items()}

    async def check(self, db: Database) -> None:
        """Raise KeyRingError, naming the key, if something in the database needs one that is missing or different here."""
        for key_id, salt, token_hash in await db.query(ONE_DEVICE_PER_KEY):
            if key_id not in self._keys:
                raise KeyRingError(f"{self.path} lacks the key {key_id}, which trigger devices in the database need: "
                                   "copy the file from another node or from the backup")
            if not compare_digest(digest(self.token(bytes(salt), key_id)), bytes(token_hash)):
                raise KeyRingError(f"the key {key_id} in {self.path} is not the one that made the tokens in the database: "
                                   "copy the file from another node or from the backup")
        for key_id, in await db.query(KEYS_OF_ERASED):
            if key_id not in self._keys:
                raise KeyRingError(f"{self.path} lacks the key {key_id}, by which erased people are known: "
                                   "copy the file from another node or from the backup")


async def open_keys(path: Path, db: Database) -> TriggerKeys:
    """The checked ring in `path`, made (mode 0600) when there is none and no device in the database needs an older one."""
    if not path.exists():
        await TriggerKeys(path, {}).check(db)
        _make(path)
    ring = TriggerKeys(path, _read(path))
    await ring.check(db)
    return ring


def _make(path: Path) -> None:
    """Write a ring of one new key; where another process was faster, its ring stands."""
    draft = path.with_name(f"{path.name}.{token_hex(8)}")
    line = f"{token_hex(4)} {spell(token_bytes(SIZE))}\n".encode()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    _keep_name(path.parent)


def _keep_name(folder: Path) -> None:
    """Make a new name in the folder survive a power cut: without its key no trigger device works again."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, bytes]:
    try:
        if path.stat().st_mode & 0o007:
            raise KeyRingError(f"{path} is open to every account of this machine: chmod 600 it")
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise KeyRingError(f"{path} can not be read: {failure}") from failure
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            key_id, key = _parse(path, number, line)
            if key_id in keys:
                raise KeyRingError(f"line {number} of {path} names the key {key_id} a second time")
            keys[key_id] = key
    if not keys:
        raise KeyRingError(f"{path} holds no key: copy it from another node or from the backup, or remove it to start anew")
    return keys


def _parse(path: Path, number: int, line: str) -> tuple[str, bytes]:
    """The key on one line; the message of a refusal never shows the line itself."""
    words = line.split()
    try:
        key = urlsafe_b64decode(words[1] + "=" * (-len(words[1]) % 4)) if len(words) == 2 else b""
    except ValueError:
        key = b""
    if len(key) != SIZE:
        raise KeyRingError(f"line {number} of {path} is not `ID KEY` with a key of {SIZE} bytes in URL-safe base64")
    return words[0], key
