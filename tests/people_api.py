"""A People API held to Google's own description: what that does not know it refuses, and what it says itself must fit it."""
from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
from attrs import define, field
from googleapiclient import discovery_cache

from tests.peers import Heard, reply

REFRESH = "1//0abc-def"
Json = dict[str, Any]


@cache
def description() -> Json:
    """people.v1.json, as Google publishes it."""
    return dict(json.loads((Path(discovery_cache.__file__).parent / "documents" / "people.v1.json").read_text(encoding="utf-8")))


@cache
def _schema(name: str) -> Any:
    def converted(value: Any) -> Any:
        if isinstance(value, list):
            return [converted(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        made = {key: converted(inner) for key, inner in value.items() if key in ("type", "enum", "items", "properties")}
        if "properties" in made:
            made["additionalProperties"] = False
            made["properties"] = {key: converted(inner) for key, inner in value["properties"].items()}
        return {"$ref": f"#/$defs/{value['$ref']}"} if "$ref" in value else made
    return jsonschema_rs.validator_for({"$ref": f"#/$defs/{name}", "$defs": {key: converted(said) for key, said in description()["schemas"].items()}})


def person(ident: str, first: str, last: str = "X", **fields: Any) -> Json:
    """A person of somebody's contacts, whose source id is `ident` (hexadecimal)."""
    names = [{"metadata": {"primary": True}, "givenName": first, "familyName": last, "displayName": f"{first} {last}"}]
    more = fields.pop("metadata", {})
    return {"resourceName": fields.pop("resourceName", f"people/c{int(ident, 16)}"), "names": names, "etag": fields.pop("etag", "%" + ident),
            "metadata": {"objectType": "PERSON", "sources": [{"type": "CONTACT", "id": ident,
                                                              "updateTime": fields.pop("updateTime", "2020-01-01T00:00:00Z")}],
                         **more}, **fields}


def error(status: int, text: str, name: str = "INVALID_ARGUMENT", *details: Json) -> bytes:
    """An error in Google's form."""
    said = {"error": {"code": status, "message": text, "status": name, **({"details": list(details)} if details else {})}}
    return reply(status, json.dumps(said).encode(), Content_Type="application/json")


@define
class PeopleApi:
    """The peer: people in order, groups, what was deleted, which tokens are good."""

    people: list[Json] = field(factory=list)
    user_groups: dict[str, str] = field(factory=dict)
    deleted: list[tuple[int, Json]] = field(factory=list)
    changed: dict[str, int] = field(factory=dict)           # by resource name: at which version
    version: int = 1
    page: int = 2
    group_page: int = 2
    oldest: int = 0                                         # sync tokens of before have expired
    refresh: str = REFRESH
    scope: str = "https://www.googleapis.com/auth/contacts.readonly"
    access: int = 0                                         # access tokens given
    good: int = 0                                           # the number of the one that is good
    special: Any = None

    def __call__(self, heard: Heard) -> Any:
        bent = self.special(heard) if self.special is not None else None
        if bent is not None:
            return bent
        if heard.path == "/token":
            return self._token(dict(parse_qsl(heard.body.decode())))
        if heard.path.startswith("/photo"):
            return reply(404)
        if heard.headers.get("authorization") != f"Bearer access{self.good}":
            return error(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        return self._call(heard)

    def _token(self, said: dict[str, str]) -> bytes:
        if said.get("client_id") != "client" or said.get("client_secret") != "client secret":
            return reply(401, b'{"error": "invalid_client", "error_description": "Unauthorized"}')
        if said.get("grant_type") != "refresh_token" or said.get("refresh_token") != self.refresh:
            return reply(400, b'{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}')
        self.access += 1
        self.good = self.access
        made = {"access_token": f"access{self.good}", "expires_in": 3599, "scope": self.scope, "token_type": "Bearer"}
        return reply(200, json.dumps(made).encode(), Content_Type="application/json")

    def _call(self, heard: Heard) -> bytes:
        url = urlsplit(heard.path)
        calls = {"/v1/people/me/connections": (("people", "connections"), "ListConnectionsResponse", self._connections),
                 "/v1/contactGroups": (("contactGroups",), "ListContactGroupsResponse", self._groups)}
        if heard.method != "GET" or url.path not in calls:
            return error(404, "Not found", "NOT_FOUND")
        path, schema, answer = calls[url.path]
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        wrong = _wrong(_method(path), query)
        if wrong:
            return error(400, wrong)
        said = answer(query)
        if isinstance(said, bytes):
            return said
        _schema(schema).validate(said)
        return reply(200, json.dumps(said).encode(), Content_Type="application/json; charset=UTF-8")

    def _connections(self, query: dict[str, str]) -> Any:
        if "personFields" not in query:
            return error(400, "personFields mask is required. Please specify one or more valid paths.")
        if "syncToken" in query and int(query["syncToken"]) < self.oldest:
            return error(400, "Sync token is expired. Clear local cache and retry call without the sync token.", "FAILED_PRECONDITION", {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "EXPIRED_SYNC_TOKEN", "domain": "people.googleapis.com"})
        since = int(query["syncToken"]) if "syncToken" in query else None
        chosen = [p for p in self.people if since is None or self.changed.get(p["resourceName"], 0) > since]
        chosen += [p for at, p in self.deleted if since is not None and at > since]
        start = int(query.get("pageToken", "0"))
        size = min(self.page, int(query.get("pageSize", "100")))
        said: Json = {"connections": [_masked(p, query["personFields"]) for p in chosen[start:start + size]], "totalItems": len(chosen),
                      "totalPeople": len(chosen)}
        if start + size < len(chosen):
            return {**said, "nextPageToken": str(start + size)}
        return {**said, **({"nextSyncToken": str(self.version)} if query.get("requestSyncToken") == "true" else {})}

    def _groups(self, query: dict[str, str]) -> Json:
        system = [{"resourceName": "contactGroups/myContacts", "groupType": "SYSTEM_CONTACT_GROUP", "name": "myContacts",
                   "formattedName": "My Contacts"}]
        mine = [{"resourceName": f"contactGroups/{ident}", "groupType": "USER_CONTACT_GROUP", "name": name, "formattedName": name}
                for ident, name in self.user_groups.items()]
        start, found = int(query.get("pageToken", "0")), [*system, *mine]
        end = start + min(int(query.get("pageSize", "30")), self.group_page)
        more = {"nextPageToken": str(end)} if end < len(found) else {}
        return {"contactGroups": found[start:end], "totalItems": len(found), **more}

    def put(self, said: Json) -> None:
        """A person is new, or another one than before."""
        self.version += 1
        self.people = [p for p in self.people if p["resourceName"] != said["resourceName"]] + [said]
        self.changed[said["resourceName"]] = self.version

    def drop(self, name: str) -> None:
        """A person is deleted."""
        self.version += 1
        found = next(p for p in self.people if p["resourceName"] == name)
        self.people.remove(found)
        self.deleted.append((self.version, {"resourceName": name, "metadata": {**found["metadata"], "deleted": True}}))


def _method(path: tuple[str, ...]) -> Json:
    here = description()
    for name in path:
        here = here["resources"][name]
    return dict(here["methods"]["list"])


def _wrong(method: Json, query: dict[str, str]) -> str:
    """What is wrong with a query, by the description."""
    known = {**description()["parameters"], **method["parameters"]}
    for name, said in query.items():
        if name not in known:
            return f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
        if "enum" in known[name] and said not in known[name]["enum"] or known[name]["type"] == "integer" and not said.isdigit():
            return f"Invalid value at '{name}'"
    if "pageSize" in query and not 1 <= int(query["pageSize"]) <= 1000:
        return "Page size must be less than or equal to 1000."
    valid = set(_fields())
    unknown = [name for name in query.get("personFields", "").split(",") if name and name not in valid]
    return f"Invalid personFields mask path: \"{unknown[0]}\"" if unknown else ""


@cache
def _fields() -> tuple[str, ...]:
    said = description()["resources"]["people"]["resources"]["connections"]["methods"]["list"]["parameters"]["personFields"]["description"]
    return tuple(word.strip() for word in said.rpartition("Valid values are:")[2].split("*") if word.strip())


def _masked(said: Json, mask: str) -> Json:
    kept = {"resourceName", "etag", *mask.split(",")}
    metadata = said.get("metadata", {})
    return {key: value for key, value in said.items() if key in kept or key == "metadata" and metadata.get("deleted")}
