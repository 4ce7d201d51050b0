"""A user's contacts at Google, by the People API with an OAuth refresh token."""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from attrs import define, field, frozen

from interactd.config import Imports as Settings
from interactd.errors import ApiError, LoginRefused, NotAllowed
from interactd.imports.google_person import FIELDS, entry, gone, objects
from interactd.imports.outgoing import Asking, Reply
from interactd.imports.patience import Patient, away
from interactd.imports.person import PHOTO_BYTES, Json, Photo
from interactd.imports.slices import Slices
from interactd.imports.source import Expired, Group, Page, Source, Wanted
from interactd.keys import Server

PAGE = 200                  # people in one answer: it is parsed at a stretch
SPARE = 300.0               # seconds before its end at which an access token is renewed
SCOPE = "https://www.googleapis.com/auth/contacts"
PHOTO_SIDE = 512


@frozen
class Access:
    """Access tokens by the hash of their refresh token, in memory only."""

    settings: Settings
    patient: Patient
    _tokens: dict[str, tuple[str, float]] = field(factory=dict, repr=False)

    @property
    def server(self) -> Server:
        """Google, as the gate knows it."""
        return Server("google", self.settings.google_api_url, self.settings.google_private)

    async def token(self, refresh: str, renew: bool = False) -> str:
        """An access token. Errors: LoginRefused, NotAllowed, Unavailable."""
        key, now = sha256(refresh.encode()).hexdigest(), self.patient.reactor.seconds()
        known = self._tokens.get(key)
        if known is not None and not renew and now < known[1]:
            return known[0]
        said = await self._exchanged(refresh)
        seconds = said.get("expires_in")
        for old in [k for k, (_, until) in self._tokens.items() if until <= now]:
            del self._tokens[old]
        made = str(said.get("access_token", ""))
        self._tokens[key] = (made, now + (float(seconds) if isinstance(seconds, int) else 3600.0) - SPARE)
        return made

    async def _exchanged(self, refresh: str) -> Json:
        body = urlencode({"grant_type": "refresh_token", "refresh_token": refresh, "client_id": self.settings.google_client_id,
                          "client_secret": self.settings.google_client_secret}).encode()
        server = Server("google", self.settings.google_token_url, self.settings.google_private)
        asking = Asking("POST", self.settings.google_token_url, {"Content-Type": "application/x-www-form-urlencoded"}, body, limit=1 << 16)
        reply = await self.patient.ask(server, asking)
        said = _json(reply)
        if reply.status != 200:
            raise _refused(str(said.get("error", reply.status)))
        if "scope" in said and not any(scope.startswith(SCOPE) for scope in str(said["scope"]).split()):
            raise NotAllowed("the refresh token does not allow reading contacts: make another one with interactctl google-token")
        return said


def _refused(error: str) -> ApiError:
    if error == "invalid_grant":
        return LoginRefused("Google refuses the refresh token: it was revoked, was not used for six months, or is seven days old while the "
                            "consent screen is in testing; make another one with interactctl google-token")
    if error in ("invalid_client", "unauthorized_client"):
        return away("Google does not know the client that [imports] google-client-id and google-client-secret name")
    return away(f"Google exchanges no token ({error[:50]})")


@define
class Google:
    """The contacts of one user."""

    access: Access
    refresh: str = field(repr=False)
    slices: Slices = field(init=False)

    @slices.default
    def _slices(self) -> Slices:
        return Slices(self.access.patient.reactor)

    @staticmethod
    def opening(patient: Patient, settings: Settings) -> Callable[[str, str], Source]:
        """What opens a user's contacts with a refresh token."""
        access = Access(settings, patient)

        def opened(username: str, password: str) -> Source:
            if not settings.google_client_id:
                raise away("[imports] google-client-id is not set: whoever runs interactd must register it with Google first")
            if not password.startswith("1/"):
                raise LoginRefused("this is a password, and Google has no login by password any more: it takes a refresh token (1//…), which "
                                   "interactctl google-token makes")
            return Google(access, password)
        return opened

    async def groups(self) -> list[Group]:
        """Groups of the user and of the system."""
        return [Group(_group_id(group), str(group.get("formattedName") or group.get("name", ""))) for group in await self._groups()]

    async def _groups(self) -> list[Json]:
        found: list[Json] = []
        said: Json = {"nextPageToken": ""}
        while "nextPageToken" in said:
            query = {"pageSize": "1000", "groupFields": "groupType,name"} | ({"pageToken": said["nextPageToken"]} if said["nextPageToken"] else {})
            said = await self._get("/v1/contactGroups", query)
            found += [group for group in objects(said, "contactGroups") if group.get("resourceName")]
        return found

    async def pages(self, wanted: Wanted) -> AsyncIterator[Page]:
        """The people in pages; the last one brings the sync token."""
        groups = await self._groups() if wanted.groups else []
        system = frozenset(_group_id(group) for group in groups if group.get("groupType") == "SYSTEM_CONTACT_GROUP")
        query = {"personFields": FIELDS, "pageSize": str(PAGE), "requestSyncToken": "true", "sources": "READ_SOURCE_TYPE_CONTACT"}
        query |= {"syncToken": wanted.token} if wanted.token is not None else {}
        said: Json = {}
        while True:
            said = await self._get("/v1/people/me/connections", query)
            yield await self._page(said, wanted, system)
            if not said.get("nextPageToken"):
                return
            query = {**query, "pageToken": said["nextPageToken"]}

    async def _page(self, said: Json, wanted: Wanted, system: frozenset[str]) -> Page:
        entries, same, lost = [], [], []
        for person in objects(said, "connections"):
            await self.slices.rest()
            name = person.get("resourceName")
            if not isinstance(name, str) or not name:
                continue
            if gone(person):
                lost.append(name)
            elif person.get("etag") and wanted.etags.get(name) == person["etag"]:
                same.append(name)
            else:
                entries.append(entry(person, system))
        return Page(tuple(entries), tuple(same), tuple(lost), said.get("nextSyncToken"))

    async def photo(self, photo: Photo) -> bytes | None:
        """The photo, at a size of its own."""
        joined = "&" if "?" in photo.url else "?"
        reply = await self.access.patient.gate.ask(self.access.server, Asking("GET", f"{photo.url}{joined}sz={PHOTO_SIDE}", limit=PHOTO_BYTES))
        return reply.body if reply.status == 200 else None

    async def _get(self, path: str, query: Json) -> Json:
        """An answer of the API; an access token that has ended is renewed once."""
        for renew in (False, True):
            token = await self.access.token(self.refresh, renew)
            url = f"{self.access.settings.google_api_url}{path}?{urlencode(query)}"
            reply = await self.access.patient.ask(self.access.server, Asking("GET", url, authorization=f"Bearer {token}"))
            if reply.status != 401:
                break
        said = _json(reply)
        if reply.status != 200:
            raise _error(reply.status, said.get("error"))
        return said


def _group_id(group: Json) -> str:
    return str(group["resourceName"]).removeprefix("contactGroups/")


def _error(status: int, said: Any) -> Exception:
    error = said if isinstance(said, dict) else {}
    text = str(error.get("message", ""))[:300]
    if any(d.get("reason") == "EXPIRED_SYNC_TOKEN" for d in objects(error, "details")):
        return Expired()
    if status == 401:
        return LoginRefused("Google refuses the access token that it has just given")
    if status == 403:
        return NotAllowed(f"Google does not allow it: {text or 'permission denied'}")
    return away(f"Google answers with status {status}: {text}")


def _json(reply: Reply) -> Json:
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise away(f"{urlsplit(reply.url).hostname} answers what is not JSON (status {reply.status})")
    return said
