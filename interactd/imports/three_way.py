"""What changed there, over what changed here: an external value wins only where nobody has edited the field here. Pure."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interactd.entities.basicinfos import family
from interactd.entities.contacts import ORGANIZATION, PERSON

Json = dict[str, Any]
_INFO = ("type", "subtype", "value", "identifier")
_ADDRESS = ("addressLine1", "addressLine2", "addressLine3", "zipCode", "city", "state", "country", "subtype")


def patch(base: Json, theirs: Json, ours: Json) -> Json:
    """The body of an update that brings `theirs` into `ours`, both having come from `base`; empty for nothing to do."""
    kind = ours["contactType"]
    keys = (PERSON if kind == "person" else ORGANIZATION).values()
    made = _attributes(tuple(keys), base, theirs, ours) if theirs.get("contactType") == kind else {}
    for name, shown, key in (("basicInfos", _INFO, _same_info), ("addresses", _ADDRESS, _same_address)):
        items = _items(shown, key, base.get(name, []), theirs.get(name, []), ours.get(name, []))
        if items is not None:
            made[name] = items
    return made


def _attributes(keys: tuple[str, ...], base: Json, theirs: Json, ours: Json) -> Json:
    made = {key: theirs.get(key) for key in keys if theirs.get(key) != base.get(key) == ours.get(key)}
    after = {**ours, **made}
    if not any(after.get(key) for key in ("firstName", "lastName", "organizationName")):
        return {key: said for key, said in made.items() if key not in ("firstName", "lastName", "organizationName")}
    return made


def _same_info(item: Json) -> Any:
    return family(item["type"]), "".join(item["value"].split()).lower()


def _same_address(item: Json) -> Any:
    return tuple(item.get(key, "") for key in _ADDRESS[:-1])


def _items(shown: tuple[str, ...], key: Callable[[Json], Any], base: list[Json], theirs: list[Json], ours: list[Json]) -> list[Json] | None:
    """The list as it is to be (items of ours by id), or None when it stays."""
    def alike(a: Json, b: Json) -> bool:
        return all(a.get(name) == b.get(name) for name in shown)
    before, after = ({key(item): item for item in items} for items in (base, theirs))
    here = {key(item) for item in ours}
    mine = [item for item in ours if key(item) in before and alike(item, before[key(item)]) and not item.get("excluded")]    # not edited here
    gone = [item["id"] for item in mine if key(item) not in after]
    changed = {item["id"]: after[key(item)] for item in mine if key(item) in after and not alike(item, after[key(item)])}
    added = [item for k, item in after.items() if k not in before and k not in here]
    if not (gone or added or changed):
        return None
    stays = [{"id": item["id"], **_over(shown, item, changed.get(item["id"], item))} for item in ours if item["id"] not in gone]
    return stays + [{name: item[name] for name in shown if name in item} for item in added]


def _over(shown: tuple[str, ...], item: Json, new: Json) -> Json:
    return {name: new.get(name) for name in shown if new.get(name) != item.get(name)}
