"""What a refused constraint of the schema means to a client: one table."""
from __future__ import annotations

import re

from interactd.db import Violation
from interactd.errors import ApiError, Conflict, EmailTaken, Internal, NotFound, Refused, Registered, Unauthenticated

#: column that refers to another row -> what is not there
REFERENCES = {
    "contact_id": "contact", "person_id": "person", "organization_id": "organization", "deal_id": "deal", "task_list_id": "tasklist",
    "basic_info_id": "basicinfo", "group_id": "group", "company_id": "company", "field": "entity", "assigned_to_id": "user", "user_id": "user",
}
UNIQUE: dict[str, tuple[type[ApiError], str]] = {
    "users_email_key": (EmailTaken, "the e-mail belongs to another user"),
    "devices_canonical_key": (Registered, "the device is registered already"),
    "devices_apns_token": (Registered, "the device is active with another registration"),
    "trigger_devices_device_id_key": (Registered, "the device is registered already"),
    "custom_fields_name_key": (Conflict, "the company has a field of that name already"),
    "basic_infos_unassigned": (Conflict, "the value is kept already"),
}
#: what still hangs on a row that was to be deleted
HELD = {"users_company_id_fkey": "the company still has users"}


def error_of(violation: Violation) -> ApiError:
    """The error a client gets for a refused row."""
    name = violation.constraint
    if name in UNIQUE:
        kind, said = UNIQUE[name]
        return kind(said)
    if name in HELD:
        return Conflict(HELD[name])
    if name.endswith("_session_id_fkey"):       # it ended while the request was under way
        return Unauthenticated("the authToken is unknown, expired or revoked", detail=5002)
    found = re.fullmatch(r".*?_((?:[a-z]+_)*?(?:%s))_fkey" % "|".join(REFERENCES), name)
    if violation.state == "23503" and found:
        column = next(c for c in REFERENCES if found[1].endswith(c))
        return NotFound(REFERENCES[column], detail=3003, devmsg=f"the body refers to a {REFERENCES[column]} that is not there")
    if violation.state == "23505":
        return Conflict("it exists already")
    if violation.state == "23514":
        return Refused("the values do not go together", detail=2004)
    return Internal("internal error")
