"""The same people at Google, on Radicale and on Xandikos: the same answers and the same contacts, by one test."""
from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from interactd.imports.person import Json
from tests import test_carddav as servers
from tests.api_case import Reply
from tests.people_api import person
from tests.test_carddav import DavCase
from tests.test_google import GoogleCase

GROUPS = {"Friends": (0, 1, 2), "Work": (2, 3, 4), "Club": (5,)}


@frozen
class Somebody:
    """A person, whichever way it is written."""

    number: int
    first: str
    last: str = "Example"
    title: str = ""
    profession: str = ""
    phones: tuple[tuple[str, str, str], ...] = ()
    emails: tuple[tuple[str, str], ...] = ()
    street: str = ""
    organization: str = ""

    @property
    def groups(self) -> list[str]:
        """The groups it is in."""
        return [name for name, members in GROUPS.items() if self.number in members]

    def vcard(self) -> tuple[str, ...]:
        """The lines of a card."""
        kinds = {"mobile": "CELL", "fax": "FAX", "phone": "VOICE"}
        lines = [f"UID:p{self.number}", f"N:{self.last};{self.first};;{self.title};", f"FN:{self.first} {self.last}".rstrip()]
        lines += [f"TITLE:{self.profession}"] if self.profession else []
        lines += [f"ORG:{self.organization}"] if self.organization else []
        lines += [f"TEL;TYPE={kinds[kind]}{'' if sub == 'other' else ',' + sub}:{value}" for kind, sub, value in self.phones]
        lines += [f"EMAIL{'' if sub == 'other' else ';TYPE=' + sub}:{value}" for sub, value in self.emails]
        lines += [f"ADR;TYPE=home:;;{self.street};Berlin;;10115;Germany"] if self.street else []
        return tuple(lines + ([f"CATEGORIES:{','.join(self.groups)}"] if self.groups else []))

    def google(self) -> Json:
        """The person of the People API."""
        kinds = {("mobile", "other"): "mobile", ("mobile", "work"): "workMobile", ("fax", "home"): "homeFax", ("fax", "work"): "workFax",
                 ("phone", "home"): "home", ("phone", "work"): "work", ("phone", "other"): "main"}
        made = person(f"f{self.number:x}", self.first, self.last, etag=f"%{hash(self)}")
        made["names"] = [{"givenName": self.first, "familyName": self.last, "honorificPrefix": self.title}] if self.first or self.last else []
        said: dict[str, Any] = {
            "occupations": [{"value": self.profession}] if self.profession else [],
            "organizations": [{"name": self.organization}] if self.organization else [],
            "phoneNumbers": [{"value": value, "type": kinds[kind, sub]} for kind, sub, value in self.phones],
            "emailAddresses": [{"value": value, "type": sub} for sub, value in self.emails],
            "addresses": [{"type": "home", "streetAddress": self.street, "city": "Berlin", "postalCode": "10115",
                           "country": "Germany"}] if self.street else [],
            "memberships": [{"contactGroupMembership": {"contactGroupId": f"g{name}"}} for name in self.groups]}
        return {**made, **said}


PEOPLE = (
    Somebody(0, "Ada", "Lovelace", "Lady", "Mathematician", (("mobile", "other", "+49 177 4528462"),), (("work", "ada@example.org"),), "1 Main St"),
    Somebody(1, "Bob", "O'Neil", phones=(("phone", "home", "030 123456"), ("fax", "work", "030 123457"))),
    Somebody(2, "Çelik", "Ünal-Özgür", emails=(("home", "Celik@Example.ORG"), ("other", "celik@example.net"))),
    Somebody(3, "Dora", "", profession="Doctor, PhD; MD"),
    Somebody(4, "", "Einstein", organization="Institute"),
    Somebody(5, "Fatima", phones=(("mobile", "work", "+4917712345"),)),
    Somebody(6, "Greta", phones=(("phone", "work", "+49 30 555"),)),
    Somebody(7, "Hanna", phones=(("phone", "other", "+4930555"),)),                  # a number that Greta has
    Somebody(8, "Ivan", "Б", phones=(("phone", "other", "110"),)),
    Somebody(9, "", "", phones=(("phone", "work", "+49 89 1"),), organization="ACME"),
    Somebody(10, "", "", emails=(("other", "nobody@example.org"),)),
    Somebody(11, "田中", "太郎", street="2 Rue; de, la Paix"),
)


class Same:
    """`fill` writes a person there, `change` and `drop` do what they say, `fetch` imports."""

    async def fetch(self, **query: Any) -> Reply:
        """An import."""
        raise AssertionError("said by the system")

    async def test_same_people(self) -> None:
        """First with all that may be required, then with all, then with what changed and went; groups by name."""
        for somebody in PEOPLE:
            await self.fill(somebody)
        names = {g["name"]: g["externalId"] for g in (await self.groups()).json}
        self.assertEqual(names.keys() & GROUPS.keys(), GROUPS.keys())
        answer = (await self.fetch(groupIds=f"{names['Club']},{names['Work']}", nameRequired=1)).json
        self.assertEqual((self.lists(answer), sorted(await self.contacts())),
                         ({"created": 4}, ["Dora", "Einstein", "Fatima Example", "Çelik Ünal-Özgür"]))
        answer = (await self.fetch(nameRequired=1, emailRequired=1, groupIds="none")).json
        self.assertEqual(self.lists(answer), {"failed": 6})
        answer = (await self.fetch()).json
        self.assertEqual(self.lists(answer), {"created": 7, "failed": 1})
        self.assertEqual({name: self.told(contact) for name, contact in (await self.contacts()).items()}, EXPECTED)
        self.assertEqual((await self.get("/v2/cleanup?cmd=getDuplicates", self.me)).json, ["+4930555"])
        self.assertEqual(self.lists((await self.fetch()).json), {})
        await self.fill(evolve(PEOPLE[0], profession="Countess", emails=()))
        await self.drop(PEOPLE[8])
        self.assertEqual(self.lists((await self.fetch()).json), {"updated": 1, "deleted": 1})
        ada = (await self.contacts())["Ada Lovelace"]
        self.assertEqual((ada["profession"], self.values(ada)), ("Countess", ["+49 177 4528462"]))

    def told(self, contact: Json) -> Json:
        """What is compared of a contact."""
        kept = ("contactType", "title", "firstName", "lastName", "organizationName", "profession")
        infos = sorted((i["type"], i["subtype"], i["value"]) for i in contact["basicInfos"])
        lines = [(a["addressLine1"], a["city"], a["zipCode"], a["country"], a["subtype"]) for a in contact["addresses"]]
        return {**{k: contact[k] for k in kept if k in contact}, "infos": infos, "lines": lines}


def _told(said: Json, *infos: tuple[str, str, str], street: str = "") -> Json:
    return {"contactType": "person", **said, "infos": sorted(infos), "lines": [(street, "Berlin", "10115", "Germany", "home")] if street else []}


EXPECTED = {
    "Ada Lovelace": _told({"title": "Lady", "firstName": "Ada", "lastName": "Lovelace", "profession": "Mathematician"},
                          ("mobile", "other", "+49 177 4528462"), ("email", "work", "ada@example.org"), street="1 Main St"),
    "Bob O'Neil": _told({"firstName": "Bob", "lastName": "O'Neil"}, ("phone", "home", "030 123456"), ("fax", "work", "030 123457")),
    "Çelik Ünal-Özgür": _told({"firstName": "Çelik", "lastName": "Ünal-Özgür"}, ("email", "home", "Celik@Example.ORG"),
                              ("email", "other", "celik@example.net")),
    "Dora": _told({"firstName": "Dora", "profession": "Doctor, PhD; MD"}),
    "Einstein": _told({"lastName": "Einstein", "profession": "Institute"}),
    "Fatima Example": _told({"firstName": "Fatima", "lastName": "Example"}, ("mobile", "work", "+4917712345")),
    "Greta Example": _told({"firstName": "Greta", "lastName": "Example"}, ("phone", "work", "+49 30 555")),
    "Ivan Б": _told({"firstName": "Ivan", "lastName": "Б"}, ("phone", "other", "110")),
    "ACME": {**_told({"organizationName": "ACME"}, ("phone", "work", "+49 89 1")), "contactType": "organization"},
    "nobody@example.org": _told({"lastName": "nobody@example.org"}, ("email", "other", "nobody@example.org")),
    "田中 太郎": _told({"firstName": "田中", "lastName": "太郎"}, street="2 Rue; de, la Paix"),
}


class AtGoogle(Same, GoogleCase):
    """By the People API."""

    async def setUp(self) -> None:
        await super().setUp()
        self.people.user_groups = {f"g{name}": name for name in GROUPS}

    async def fill(self, somebody: Somebody) -> None:
        """A person is there."""
        self.people.put(somebody.google())

    async def drop(self, somebody: Somebody) -> None:
        """A person is not there any more."""
        self.people.drop(somebody.google()["resourceName"])

    async def fetch(self, **query: Any) -> Reply:
        """An import."""
        return await self.google(**query)

    async def groups(self) -> Reply:
        """The groups."""
        return await self.google("getContactGroups")


class _AtDav(Same):
    """By CardDAV."""

    async def setUp(self) -> None:
        await DavCase.setUp(self)
        await self.begin()
        await self.attach(self.server.server, trust=self.server.trust)

    async def fill(self, somebody: Somebody) -> None:
        """A card is there; what separates in a value is escaped."""
        lines = somebody.vcard()
        for raw in (somebody.profession, somebody.street):
            if raw:
                lines = tuple(line.replace(raw, raw.replace(",", r"\,").replace(";", r"\;")) for line in lines)
        await self.put_card(f"p{somebody.number}", *lines)

    async def drop(self, somebody: Somebody) -> None:
        """A card is not there any more."""
        await self.drop_card(f"p{somebody.number}")

    async def fetch(self, **query: Any) -> Reply:
        """An import."""
        return await self.dav(**query)

    async def groups(self) -> Reply:
        """The groups."""
        return await self.dav("getContactGroups")


class AtRadicale(_AtDav, DavCase):
    """On Radicale."""

    begin, put_card, drop_card = servers.WithRadicale.begin, servers.WithRadicale.put_card, servers.WithRadicale.drop_card


class AtXandikos(_AtDav, DavCase):
    """On Xandikos."""

    begin, drop_card = servers.WithXandikos.begin, servers.WithXandikos.drop_card

    async def put_card(self, name: str, *lines: str) -> None:
        """As version 4.0."""
        await servers.WithRadicale.put_card(self, name, *lines, version="4.0")
