"""Rows of every kind that an id can name, made for whoever shall own them."""
from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api_case import ApiCase, Person

_numbers = itertools.count(1)
ROW = Callable[["Owner"], Awaitable[int]]


class Owner:
    """A user with a mark that stands in the texts of all that is made; `make(kind)` gives the id of a new row."""

    def __init__(self, case: ApiCase, person: Person, root: Person, mark: str) -> None:
        self.case, self.person, self.root, self.mark = case, person, root, mark
        self.trigger = ""
        self.device_id = f"device-{mark}"

    async def make(self, kind: str) -> int:
        """A new row of a kind: the path under which its ids stand, or a word where there is none."""
        return await MAKERS[kind](self)

    async def put(self, path: str, body: dict[str, Any], who: Person | str | None = None) -> Any:
        """The entity that was made."""
        reply = await self.case.put(path, who or self.person, body)
        self.case.assertIn(reply.status, (200, 201), (path, reply.json))
        return reply.entity

    def named(self) -> str:
        """A text that nobody else has, with the mark."""
        return f"{self.mark}{next(_numbers)}"

    def inserted(self, sql: str, *values: Any) -> int:
        """The id of a row that no call makes, or not at once."""
        return int(self.case.sql(sql + " RETURNING id", *values)[0][0])


async def _contact(o: Owner, body: dict[str, Any]) -> Any:
    return await o.put("/v2/contacts", body)


async def _person(o: Owner) -> int:
    return int((await _contact(o, {"contactType": "person", "firstName": o.named()}))["id"])


async def _organization(o: Owner) -> int:
    return int((await _contact(o, {"contactType": "organization", "organizationName": o.named()}))["id"])


async def _address(o: Owner) -> int:
    made = await _contact(o, {"contactType": "person", "firstName": o.named(), "addresses": [{"city": o.mark}]})
    return int(made["addresses"][0]["id"])


async def _basic_info(o: Owner) -> int:
    return int((await o.put("/v2/basicInfos", {"type": "phone", "value": f"+49302{next(_numbers):06}", "identifier": o.mark}))["id"])


async def _picture(o: Owner) -> int:
    return o.inserted("INSERT INTO pictures (user_id, contact_id) VALUES (%s, %s)", o.person.id, await _person(o))


async def _note(o: Owner) -> int:
    return int((await o.put("/v2/notes", {"message": o.named(), "relatedTo": {"id": await _person(o), "type": "contact"}}))["id"])


async def _interaction(o: Owner) -> int:
    if not o.trigger:
        o.trigger = (await o.put("/v2/triggerDevices", {"deviceId": o.named()}))["triggerToken"]
    return int((await o.put("/v2/interactions", {"type": "im-incoming", "data": o.named()}, o.trigger))["id"])


async def _import_contact(o: Owner) -> int:
    return o.inserted("INSERT INTO import_contacts (user_id, system, account, external_id, card, display_name) "
                      "VALUES (%s, 'google', 'x', %s, '{}', %s)", o.person.id, str(next(_numbers)), o.mark)


async def _session(o: Owner) -> int:
    o.case.token(o.person.id)
    return int(o.case.sql("SELECT max(id) FROM sessions")[0][0])


async def _user(o: Owner) -> int:
    return int((await o.put("/v2/admin/users", {"email": f"{o.named()}@example.org", "companyId": o.person.company}, o.root))["id"])


def _titled(path: str, key: str, **more: Any) -> ROW:
    async def make(o: Owner) -> int:
        return int((await o.put(path, {key: o.named(), **more}))["id"])
    return make


def _of_company(path: str, **more: Any) -> ROW:
    async def make(o: Owner) -> int:
        return int((await o.put(path, {"name": o.named(), "companyId": o.person.company, **more}, o.root))["id"])
    return make


async def _group(o: Owner) -> int:
    group = await _of_company("/v2/admin/groups")(o)
    o.case.sql("INSERT INTO group_members (company_id, group_id, user_id) VALUES (%s, %s, %s)", o.person.company, group, o.person.id)
    return group


async def _company(o: Owner) -> int:
    assert o.person.company is not None
    return o.person.company


async def _me(o: Owner) -> int:
    return o.person.id


MAKERS: dict[str, ROW] = {
    "/v2/contacts": _person, "organization": _organization, "address": _address, "importContact": _import_contact, "assignee": _me,
    "/v2/basicInfos": _basic_info, "/v2/pictures": _picture, "/v2/notes": _note, "/v2/tasks": _titled("/v2/tasks", "title"),
    "/v2/taskLists": _titled("/v2/taskLists", "title"), "/v2/deals": _titled("/v2/deals", "name"), "/v2/interactions": _interaction,
    "/v2/devices": _titled("/v2/devices", "deviceId"), "/v2/triggerDevices": _titled("/v2/triggerDevices", "deviceId"),
    "/v2/myAccount/sessions": _session, "/v2/admin/users": _user, "/v2/admin/companies": _company, "/v2/admin/groups": _group,
    "/v2/admin/customFields": _of_company("/v2/admin/customFields", dataType="varchar", entityType="contact"),
}
#: kinds that belong to a company: a colleague's are one's own
OF_COMPANY = {"assignee", "/v2/admin/users", "/v2/admin/companies", "/v2/admin/groups", "/v2/admin/customFields"}
