"""interactctl google-token: consent in a browser, back to a port of this machine, PKCE."""
from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from interactd.config import Imports
from interactd.imports.google_consent import Consent
from interactd.imports.outgoing import Gate
from interactd.refusals import Refusal
from interactd.tls import StrictPolicy
from tests.peers import Heard, Peer, reply


class Consenting(TestCase):
    """A token endpoint as Google's, and the test as the browser."""

    async def setUp(self) -> None:
        self.peer = Peer(self.exchange)
        await self.peer.listen(self)
        self.answer = b'{"refresh_token": "1//new", "scope": "https://www.googleapis.com/auth/contacts.readonly"}'
        self.asked: dict[str, str] = {}
        self.settings = attrs.evolve(Imports(), google_client_id="client", google_client_secret="hush", google_private=True,
                                     google_token_url=f"http://127.0.0.1:{self.peer.port}/token")

    def exchange(self, heard: Heard) -> bytes:
        """The code for tokens, if the verifier fits the challenge."""
        said = dict(parse_qsl(heard.body.decode()))
        challenge = urlsafe_b64encode(sha256(said["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        right = challenge == self.asked["code_challenge"] and said["redirect_uri"] == self.asked["redirect_uri"] and said["client_secret"] == "hush"
        return reply(200, self.answer) if right and said["code"] == "4/code" else reply(400, b'{"error": "invalid_grant"}')

    async def go(self, *backs: dict[str, str]) -> tuple[str, list[int]]:
        """The token and what the browser saw, which came back so, one after the other."""
        shown: Deferred[str] = Deferred()

        async def resolve(host: str) -> list[str]:
            return ["127.0.0.1"]
        consent = Consent(reactor, self.settings, Gate(reactor, resolve, StrictPolicy(), 5.0, 1 << 20))
        running = Deferred.fromCoroutine(consent.refresh_token(0, shown.callback))
        self.asked = dict(parse_qsl(urlsplit(await shown).query))
        seen = []
        for back in backs:
            told: Any = {"state": self.asked["state"], **back}
            answer = await treq.get(self.asked["redirect_uri"], params=told, persistent=False)
            seen.append(answer.code)
            await answer.content()
        return await running, seen

    async def test_yes(self) -> None:
        """The address asks for what is needed; a stranger's visit with another state changes nothing."""
        token, seen = await self.go({"state": "guessed", "code": "4/evil"}, {"code": "4/code"})
        self.assertEqual((token, seen), ("1//new", [400, 200]))
        self.assertEqual({k: self.asked[k] for k in ("client_id", "response_type", "access_type", "prompt", "scope", "code_challenge_method")}, {
            "client_id": "client", "response_type": "code", "access_type": "offline", "prompt": "consent", "code_challenge_method": "S256",
            "scope": "https://www.googleapis.com/auth/contacts.readonly"})
        self.assertTrue(self.asked["redirect_uri"].startswith("http://127.0.0.1:"))

    async def test_no(self) -> None:
        """Refused by the user, by Google, without the scope, without a client: a sentence each."""
        for answer, back, says in ((self.answer, {"error": "access_denied"}, "access_denied"), (self.answer, {"code": "4/other"}, "invalid_grant"),
                                   (b"<html>", {"code": "4/code"}, "could not be had"), (b'{"refresh_token": "1//x", "scope": "openid"}',
                                                                                         {"code": "4/code"}, "was not ticked")):
            self.answer = answer
            with self.assertRaises(Refusal) as raised:
                await self.go(back)
            self.assertIn(says, str(raised.exception))
        self.settings = Imports()
        with self.assertRaises(Refusal):
            await Consent(reactor, self.settings, None).refresh_token(0, print)
