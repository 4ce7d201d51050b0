"""`relatedTo`: the contact or deal that a note or a task belongs to."""
from __future__ import annotations

from typing import Any

from interactd.api.fields import Columns, Field, Wrong, declare, named

_SHOWN = """CASE WHEN {t}.contact_id IS NOT NULL THEN json_build_object('id', {t}.contact_id, 'type', 'contact',
  'displayName', (SELECT r.display_name FROM contacts r WHERE r.user_id = {t}.user_id AND r.id = {t}.contact_id))
  WHEN {t}.deal_id IS NOT NULL THEN json_build_object('id', {t}.deal_id, 'type', 'deal',
  'displayName', (SELECT r.name FROM deals r WHERE r.user_id = {t}.user_id AND r.id = {t}.deal_id)) END"""
_SCHEMA = {"type": "object", "required": ["id", "type"], "properties": {
    "id": {"type": "integer"}, "type": {"type": "string", "enum": ["contact", "deal"]}, "displayName": {"type": "string", "readOnly": True}}}


def _read(value: Any) -> Columns:
    if not isinstance(value, dict) or "id" not in value or "type" not in value:
        raise Wrong("must be an object with id and type")
    if value["type"] not in ("contact", "deal"):
        raise Wrong("must be one of contact, deal", attribute=".type")
    ident = named(value)
    return {"contact_id": ident, "deal_id": None} if value["type"] == "contact" else {"contact_id": None, "deal_id": ident}


def related_to(required: bool = False) -> Any:
    """{`id`, `type`: contact or deal}; `displayName` is answered."""
    clears = None if required else {"contact_id": None, "deal_id": None}
    return declare(Field(_read, _SCHEMA, _SHOWN, columns=("contact_id", "deal_id"), required=required, clears=clears))
