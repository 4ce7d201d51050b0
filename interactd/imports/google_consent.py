"""A refresh token for Google: the consent of a user in a browser, by the flow for installed apps (PKCE, a port on this machine)."""
from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from urllib.parse import urlencode

import orjson
from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from interactd.config import Imports as Settings
from interactd.imports.outgoing import Asking, Closed, Gate, Lost
from interactd.keys import Server
from interactd.refusals import Refusal

CONSENT = "https://accounts.google.com/o/oauth2/v2/auth"
SCOPE = "https://www.googleapis.com/auth/contacts.readonly"
PATIENCE = 600.0            # seconds for somebody to say yes
DONE = b"<!doctype html><title>interactd</title><p>Done. The refresh token stands in the terminal; this page can be closed."
FAILED = b"<!doctype html><title>interactd</title><p>This did not work. The terminal says more."


class _Back(Resource):
    """Where the browser comes back to."""

    isLeaf = True

    def __init__(self, state: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.state = state
        self.code: Deferred[str] = Deferred()

    def render_GET(self, request: Request) -> bytes:
        said = {name: request.args.get(name, [b""])[0].decode("utf-8", "replace") for name in (b"code", b"state", b"error")}
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        if not compare_digest(said[b"state"].encode(), self.state.encode()) or self.code.called:
            request.setResponseCode(400)
            return FAILED
        if said[b"code"]:
            self.code.callback(said[b"code"])
            return DONE
        self.code.errback(Refusal(f"Google says {said[b'error'][:100] or 'nothing'}: nobody consented"))
        return FAILED


@frozen
class Consent:
    """One try to get a refresh token."""

    reactor: Any
    settings: Settings
    gate: Gate
    verifier: str = field(factory=lambda: secrets.token_urlsafe(64), repr=False)
    state: str = field(factory=lambda: secrets.token_urlsafe(24), repr=False)

    async def refresh_token(self, port: int, show: Callable[[str], None]) -> str:
        """The refresh token, once somebody has consented at the address that is shown. Refusal for whatever goes wrong."""
        if not self.settings.google_client_id:
            raise Refusal("[imports] google-client-id is not set: register interactd with Google first (docs/import.md)")
        back = _Back(self.state)
        listening = self.reactor.listenTCP(port, Site(back), interface="127.0.0.1")
        redirect = f"http://127.0.0.1:{listening.getHost().port}"
        try:
            show(self._address(redirect))
            code = await back.code.addTimeout(PATIENCE, self.reactor)
            return await self._exchanged(code, redirect)
        finally:
            await listening.stopListening()

    def _address(self, redirect: str) -> str:
        challenge = urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        return CONSENT + "?" + urlencode({
            "client_id": self.settings.google_client_id, "redirect_uri": redirect, "response_type": "code", "scope": SCOPE, "access_type": "offline",
            "prompt": "consent", "state": self.state, "code_challenge": challenge, "code_challenge_method": "S256"})

    async def _exchanged(self, code: str, redirect: str) -> str:
        url = self.settings.google_token_url
        body = urlencode({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": self.verifier,
                          "client_id": self.settings.google_client_id, "client_secret": self.settings.google_client_secret}).encode()
        asking = Asking("POST", url, {"Content-Type": "application/x-www-form-urlencoded"}, body, limit=1 << 16)
        try:
            reply = await self.gate.ask(Server("google", url, self.settings.google_private), asking)
            said = orjson.loads(reply.body)
        except (Closed, Lost, orjson.JSONDecodeError) as failure:
            raise Refusal(f"Google's answer could not be had: {failure}") from None
        if not isinstance(said, dict) or not said.get("refresh_token"):
            raise Refusal(f"Google gives no refresh token ({str(said.get('error', 'no reason') if isinstance(said, dict) else said)[:100]})")
        if SCOPE not in str(said.get("scope", SCOPE)).split():
            raise Refusal("reading contacts was not ticked on the consent page: run this again and tick it")
        return str(said["refresh_token"])
