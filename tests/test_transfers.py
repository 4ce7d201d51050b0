"""Contacts in files: read by interactctl import, written by interactctl export, and back without loss."""
from __future__ import annotations

import argparse
import contextlib
import csv
import io
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
from twisted.internet import reactor

from interactd.imports.commands import export_file, import_file
from interactd.imports.files import of_csv
from interactd.imports.person import Json
from interactd.refusals import Refusal
from tests.api_case import Person
from tests.import_case import ImportCase
from tests.test_import import photo

TWO = """BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nN:Lovelace;Ada;;;\r\nTEL;TYPE=CELL:0177 1\r\nEND:VCARD\r
BEGIN:VCARD\r\nVERSION:2.1\r\nN:Bar;Bob\r\nEND:VCARD\r\n"""
GOOGLE = """First Name,Middle Name,Last Name,Organization Name,Organization Title,E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,\
Phone 1 - Value,\
Address 1 - Label,Address 1 - Street,Address 1 - City,Address 1 - Postal Code,Website 1 - Value
Ada,K,Lovelace,ACME,Boss,* Work,ada@example.org,Mobile,+49 177 1 ::: +49 177 2,Home,1 Main St,Berlin,10115,https://example.org
"""
OUTLOOK = """Title;First Name;Last Name;Company;Job Title;Business Street;Business City;Business Phone;Home Phone;\
Mobile Phone;Business Fax;E-mail Address
Dr.;Ada;Lovelace;ACME;Boss;1 Main St;Berlin;030 1;030 2;0177 1;030 3;ada@example.org
;;;ACME;;;;030 9;;;;
"""


class Tables(ImportCase):
    """CSV of several programs."""

    def one(self, text: str | bytes, row: int = 0) -> Json:
        """The person in a row."""
        found = list(of_csv(text if isinstance(text, bytes) else text.encode()))[row].person
        assert found is not None
        return found

    def test_google(self) -> None:
        """Several values in one cell; labels say what they are."""
        made = self.one(GOOGLE)
        self.assertEqual({k: made[k] for k in ("firstName", "middleName", "lastName", "profession")}, {
            "firstName": "Ada", "middleName": "K", "lastName": "Lovelace", "profession": "Boss"})
        self.assertEqual([(i["type"], i["subtype"], i["value"]) for i in made["basicInfos"]][:3], [
            ("email", "work", "ada@example.org"), ("mobile", "other", "+49 177 1"), ("mobile", "other", "+49 177 2")])
        self.assertEqual(made["addresses"], [{"subtype": "home", "addressLine1": "1 Main St", "city": "Berlin", "zipCode": "10115"}])

    def test_outlook(self) -> None:
        """Semicolons; numbers by their column; a company alone."""
        made = self.one(OUTLOOK)
        self.assertEqual([(i["type"], i["subtype"], i["value"]) for i in made["basicInfos"]], [
            ("phone", "work", "030 1"), ("phone", "home", "030 2"), ("mobile", "other", "0177 1"), ("fax", "work", "030 3"),
            ("email", "other", "ada@example.org")])
        self.assertEqual((made["title"], made["profession"], made["addresses"][0]["subtype"]), ("Dr.", "Boss", "work"))
        self.assertEqual(self.one(OUTLOOK, 1)["organizationName"], "ACME")

    def test_simple(self) -> None:
        """A name and a number, in German, in other encodings."""
        for text in ("Name,Telefon\nJörg Müller,030 1\n".encode(), "Name;Telefon\nJörg Müller;030 1\n".encode("cp1252"),
                     "Name\tTelefon\nJörg Müller\t030 1\n".encode("utf-16")):
            made = self.one(text)
            self.assertEqual((made["firstName"], made["lastName"], made["basicInfos"][0]["value"]), ("Jörg", "Müller", "030 1"))
        with self.assertRaises(Refusal):
            self.one("a,b\n1,2\n")
        with self.assertRaises(Refusal):
            self.one("Name,Phone\n" + "x" * 200_000 + ",1\n")
        out = io.StringIO()
        csv.writer(out).writerows([["Name", "E-Mail"], ["O\"Neil, Bob\nJr.", "b@example.org"]])
        self.assertEqual(self.one(out.getvalue())["lastName"], "Jr.")


class Commands(ImportCase):
    """`self.run` is a command of interactctl on the test's database."""

    async def setUp(self) -> None:
        await super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    async def run_import(self, name: str, content: bytes | str = b"", who: Person | None = None, dry: bool = False) -> str:
        """What import prints."""
        path = self.folder / name
        if content:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return await self._printed(import_file, file=path, user=(who or self.me).email.upper(), dry_run=dry)

    async def run_export(self, name: str | None, who: Person | None = None) -> str:
        """What export prints."""
        return await self._printed(export_file, file=self.folder / name if name else None, user=(who or self.me).email)

    async def _printed(self, command: Any, **arguments: Any) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            await command(reactor, self.parts.app.database, self.config, argparse.Namespace(**arguments))
        return out.getvalue()

    async def test_vcards(self) -> None:
        """Tried, done, done again; changed in the file, who left it stays."""
        self.assertEqual(await self.run_import("a.vcf", TWO, dry=True), "2 would be created, 0 would be updated\n")
        self.assertEqual(await self.contacts(), {})
        self.assertEqual(await self.run_import("a.vcf"), "2 created, 0 updated\n")
        for dry in (True, False):
            self.assertTrue((await self.run_import("a.vcf", dry=dry)).startswith("0 "))
        changed = TWO.partition("BEGIN:VCARD\r\nVERSION:2.1")[0].replace("TEL;", "TITLE:x\r\nTEL;")
        self.assertEqual(await self.run_import("a.vcf", changed, dry=True), "0 would be created, 1 would be updated\n")
        self.assertEqual(await self.run_import("a.vcf"), "0 created, 1 updated\n")
        self.assertEqual(sorted(await self.contacts()), ["Ada Lovelace", "Bob Bar"])
        self.assertIn("1 can not become", await self.run_import("b.csv", "Name,Phone\nEve,+491771\n"))

    async def test_refused(self) -> None:
        """No such file, account, form."""
        for name, content in (("none.vcf", ""), ("a.txt", "x"), ("a.json", "{}"), ("b.json", "["), ("c.json", '{"interactd": 99, "contacts": []}'),
                              ("d.json", '{"interactd": 1, "contacts": [{}]}'), ("e.json", '{"interactd": 1, "contacts": 7}')):
            with self.assertRaises(Refusal):
                await self.run_import(name, content)
        with self.assertRaises(Refusal):
            await self.run_import("a.vcf", TWO, Person(0, "nobody@example.org", ""))
        await self.run_export("x.json")
        with self.assertRaises(Refusal):
            await self.run_export("x.json")             # nothing is overwritten
        self.assertEqual((self.folder / "x.json").stat().st_mode & 0o777, 0o600)

    async def full(self) -> dict[str, Json]:
        """An account with all that a contact can have."""
        company = self.company()
        self.me = self.person(company=company)
        self.field = self.sql("INSERT INTO custom_fields (company_id, name) VALUES (%s, 'Room') RETURNING id", company)[0][0]
        acme = (await self.put("/v2/contacts", self.me, {"contactType": "organization", "organizationName": "ACME", "business": "x"})).entity
        ada = (await self.put("/v2/contacts", self.me, {
            "contactType": "person", "firstName": "Ada", "lastName": "L, \"x\"", "title": "Dr.", "gender": "f", "hot": True, "oneself": True,
            "basicInfos": [{"type": "phone", "value": "030 1", "excluded": True, "identifier": "Boat"}, {"type": "email", "value": "a@example.org"}],
            "addresses": [{"addressLine1": "1\n2", "city": "B", "subtype": "work"}], "profiles": {"xing": {"connected": True, "username": "ada"}},
            "tags": ["a", "b"], "searchTerms": ["s"], "customFields": [{"id": self.field, "value": "7"}], "relatedTo": [acme["id"]]})).entity
        # two with one number, which an ordinary import would not make
        await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Twin", "basicInfos": [{"type": "phone", "value": "030 1"}]})
        for colour, default in (("red", False), ("blue", True)):
            upload = {"contactId": ada["id"], "base64": b64encode(photo(colour)).decode(), "isDefault": default}
            self.assertEqual((await self.put("/v2/pictures", self.me, upload)).status, 200)
        return await self.contacts()

    def bare(self, contacts: dict[str, Json]) -> dict[str, Json]:
        """What is the same in another account: without ids and times, relations by name."""
        names = {contact["id"]: name for name, contact in contacts.items()}
        found = {}
        for name, contact in contacts.items():
            kept = {k: v for k, v in contact.items() if k not in ("id", "version", "created", "changed", "pictures", "relatedTo", "customFields")}
            for part in ("basicInfos", "addresses"):
                kept[part] = [{k: v for k, v in item.items() if k != "id"} for item in kept[part]]
            found[name] = {**kept, "relatedTo": [names[i] for i in contact["relatedTo"]], "pictures": len(contact["pictures"]),
                           "customFields": [(v["name"], v["value"]) for v in contact["customFields"]]}
        return found

    async def test_archive(self) -> None:
        """All that contacts have, into another account of the company; twice is once."""
        before = await self.full()
        self.assertEqual(await self.run_export("a.json"), f"wrote 3 contacts to {self.folder / 'a.json'}\n")
        other = self.person(company=self.me.company)
        self.assertEqual(await self.run_import("a.json", who=other, dry=True), "3 would be created, 0 would be updated\n")
        self.assertEqual(await self.run_import("a.json", who=other), "3 created, 0 updated\n")
        self.assertEqual(self.bare(await self.contacts(other)), self.bare(before))
        self.assertEqual(await self.run_import("a.json", who=other), "0 created, 0 updated\n")
        stranger = self.person()
        self.assertIn("1 custom values", await self.run_import("a.json", who=stranger))
        types = self.sql("SELECT type, is_default FROM pictures WHERE user_id = %s ORDER BY id", other.id)
        self.assertEqual(types, [("interact", False), ("interact", True)])

    async def test_archive_of_the_same_account(self) -> None:
        """What is there stays as it is, what was deleted since is back."""
        before = await self.full()
        await self.run_export("a.json")
        self.assertEqual(await self.run_import("a.json", dry=True), "0 would be created, 0 would be updated\n")
        self.assertEqual(await self.run_import("a.json"), "0 created, 0 updated\n")
        await self.post(f"/v2/contacts/{before['Twin']['id']}", self.me, {"version": 1, "title": "new"})
        for attempt in range(2):
            await self.delete(f"/v2/contacts/{(await self.contacts())['ACME']['id']}", self.me)
            self.assertEqual(await self.run_import("a.json"), "1 created, 0 updated\n", attempt)
        after = await self.contacts()
        self.assertEqual((sorted(after), after["Twin"]["title"]), (sorted(before), "new"))

    async def test_exported_vcards(self) -> None:
        """vCards for other programs, which come in again here."""
        await self.full()
        text = await self.run_export(None)
        self.assertEqual(text.count("BEGIN:VCARD"), 3)
        self.assertIn("ORG:ACME", text)
        await self.run_export("a.vcf")
        other = self.person()
        self.assertEqual(await self.run_import("a.vcf", who=other),
                         "2 created, 0 updated, 1 can not become contacts by themselves: the clean-up shows them\n")
        ada = (await self.contacts(other))['Ada L, "x"']
        self.assertEqual((ada["title"], ada["gender"], len(ada["pictures"]), sorted(self.values(ada))), ("Dr.", "f", 1, ["030 1", "a@example.org"]))

    async def test_odd_archives(self) -> None:
        """Archives that were edited by hand: a refusal, or less."""
        await self.full()
        await self.run_export("a.json")
        said = orjson.loads((self.folder / "a.json").read_bytes())
        said["contacts"][0]["relatedTo"] = [999999]
        said["contacts"][1]["pictures"][0]["data"] = "eA=="
        other = self.person(company=self.me.company)
        self.assertIn("1 custom values and pictures", await self.run_import("b.json", orjson.dumps(said), who=other))
        self.assertEqual(len(await self.contacts(other)), 3)
