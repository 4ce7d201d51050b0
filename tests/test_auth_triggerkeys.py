"""The key file of trigger tokens, and what a start makes of it."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred

from interactd.auth.tokens import digest
from interactd.auth.triggerkeys import KeyRingError, NewToken, TriggerKeys, open_keys
from tests.auth_case import AuthCase

LINE = "first AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
NEXT = "second BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA\n"


class TriggerKeyTests(AuthCase):
    """A ring in the state directory."""

    async def setUp(self) -> None:
        await super().setUp()
        self.path = self.config.state.directory / "trigger-keys"

    async def open(self) -> TriggerKeys:
        return await open_keys(self.path, self.db)

    async def message(self) -> str:
        return str(await self.assertFailure(Deferred.fromCoroutine(self.open()), KeyRingError))

    def written(self, text: str, mode: int = 0o600) -> None:
        self.path.write_text(text)
        self.path.chmod(mode)

    def device(self, new: NewToken) -> None:
        user = self.user(f"{new.salt.hex()}@example.com", password=None)
        self.sql("INSERT INTO trigger_devices (user_id, device_id, salt, key_id, token_hash) VALUES (%s, 'imei', %s, %s, %s)",
                 user, new.salt, new.key_id, new.token_hash)

    async def test_the_first_start_makes_a_private_file_and_later_ones_keep_it(self) -> None:
        new = (await self.open()).new()
        made = self.path.read_bytes()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(os.listdir(self.path.parent), ["trigger-keys"])
        self.assertEqual((await self.open()).token(new.salt, new.key_id), new.token)
        self.assertEqual(self.path.read_bytes(), made)

    async def test_of_two_first_starts_at_once_one_makes_the_file(self) -> None:
        one, two = Deferred.fromCoroutine(self.open()), Deferred.fromCoroutine(self.open())
        new = (await one).new()
        self.assertEqual((await two).token(new.salt, new.key_id), new.token)

    async def test_a_token_is_43_characters_of_the_url_safe_alphabet_and_never_the_same_for_two_devices(self) -> None:
        ring = await self.open()
        tokens = {ring.new().token for _ in range(100)}
        self.assertEqual(len(tokens), 100)
        for token in tokens:
            self.assertRegex(token, r"\A[A-Za-z0-9_-]{43}\Z")

    async def test_a_token_is_the_keyed_hash_of_its_salt_for_ever(self) -> None:
        self.written(LINE)
        token = (await self.open()).token(b"\x01" * 32, "first")
        self.assertEqual(token, "eqx9ufjkGfYmzHYgMYJUNmxYrz9I9VD5BneL6UyEuh8")

    async def test_the_row_holds_the_hash_by_which_the_token_is_found(self) -> None:
        new = (await self.open()).new()
        self.assertEqual(new.token_hash, digest(new.token))

    async def test_the_last_key_serves_new_devices_and_all_serve_old_ones(self) -> None:
        self.written(LINE)
        old = (await self.open()).new()
        self.written("# a comment\n\n" + LINE + NEXT)
        ring = await self.open()
        self.assertEqual((old.key_id, ring.new().key_id), ("first", "second"))
        self.assertEqual(ring.token(old.salt, old.key_id), old.token)

    async def test_a_start_without_a_needed_key_is_refused_and_names_it(self) -> None:
        self.written(LINE)
        self.device((await self.open()).new())
        self.written(NEXT)
        self.assertIn("lacks the key first", await self.message())

    async def test_a_start_without_the_file_makes_none_while_devices_need_the_old_one(self) -> None:
        self.written(LINE)
        self.device((await self.open()).new())
        self.path.unlink()
        self.assertIn("lacks the key first", await self.message())
        self.assertFalse(self.path.exists())

    async def test_another_key_of_the_same_name_is_noticed(self) -> None:
        self.written(LINE)
        self.device((await self.open()).new())
        self.written("first " + NEXT.split()[1])
        self.assertIn("key first", await self.message())

    async def test_a_file_that_everybody_can_read_is_refused(self) -> None:
        self.written(LINE, 0o644)
        self.assertIn("chmod 600", await self.message())

    async def test_a_broken_line_is_named_and_not_shown(self) -> None:
        key = LINE.split()[1]
        for line in ("first", "first tooshort", "first canary!!", f"first {key} more", f"first {key}AAAA"):
            self.written(LINE.replace("first", "zeroth") + line + "\n")
            message = await self.message()
            self.assertIn("line 2", message)
            self.assertNotIn(line, message)

    async def test_a_key_named_twice_and_a_file_without_keys_are_refused(self) -> None:
        self.written(LINE + LINE)
        self.assertIn("second time", await self.message())
        self.written("# nothing\n")
        self.assertIn("no key", await self.message())
        self.path.write_bytes(b"\xff")
        self.assertIn("can not be read", await self.message())

    async def test_neither_keys_nor_tokens_are_shown(self) -> None:
        self.written(LINE)
        ring = await self.open()
        new = ring.new()
        shown = f"{ring!r} {new!r} {new!s}"
        for secret in ("AAAA", new.token, str(new.salt), str(new.token_hash)):
            self.assertNotIn(secret, shown)

    async def test_an_unused_ring_may_be_anywhere(self) -> None:
        elsewhere = Path(self.mktemp())
        elsewhere.mkdir()
        await open_keys(elsewhere / "ring", self.db)
        self.assertTrue((elsewhere / "ring").exists())
