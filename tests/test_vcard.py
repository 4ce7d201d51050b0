"""vCards of all versions are read, whatever is in them, and written so that they are read again."""
from __future__ import annotations

import base64
from typing import Any

import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from interactd.imports import vcard
from interactd.imports.person import Entry
from interactd.imports.vcard import cards, split, unescaped
from interactd.imports.vcard_person import categories, entry, group_card, moment
from interactd.imports.vcard_writing import card as written

JPEG = b"\xff\xd8\xff" + bytes(range(256))


def read(*lines: str | bytes, version: str = "3.0") -> Entry:
    """The entry of a card of these lines."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in ("BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD")]
    found, = cards(b"\r\n".join(raw) + b"\r\n")
    return entry(found, "/a.vcf", "e")


def person(*lines: str | bytes, version: str = "3.0") -> Any:
    """What it says, without empty lists."""
    made = read(*lines, version=version).person
    return made and {key: said for key, said in made.items() if said != [] and key != "contactType"}


def info(kind: str, subtype: str, value: str, **more: str) -> dict[str, str]:
    """A basicInfo."""
    return {"type": kind, "subtype": subtype, "value": value, **more}


class Lines(TestCase):
    """From bytes to properties."""

    def test_folds(self) -> None:
        """CRLF, LF and CR; blank or tab; a fold within a character."""
        for end in (b"\r\n", b"\n", b"\r"):
            for blank in (b" ", b"\t"):
                raw = b"BEGIN:VCARD" + end + b"FN:J\xc3" + end + blank + b"\xb6rg" + end + b"END:VCARD"
                self.assertEqual([c.said("fn") for c in cards(raw)], ["Jörg"])

    def test_parameters(self) -> None:
        """Quoted, repeated, split at commas, bare as in 2.1, with carets; a colon in quotes ends nothing."""
        found, = cards(b'BEGIN:VCARD\nitem1.TEL;TYPE=home;type="CELL,Pref";X="a;b:c";Y=^nA^^^\':+49 1\nTEL;WORK;FAX:2\nEND:VCARD')
        first, second = found.properties
        self.assertEqual((first.group, first.types, first.params["x"], first.params["y"]), ("item1", {"home", "cell", "pref"}, ["a;b:c"], ['\nA^"']))
        self.assertEqual((first.value, second.types), ("+49 1", {"work", "fax"}))

    def test_values(self) -> None:
        """Escaped separators separate nothing."""
        self.assertEqual(split(r"a\;b;c\,d,e;;\\;f\nG"), [["a;b"], ["c,d", "e"], [""], ["\\"], ["f\nG"]])
        self.assertEqual(unescaped(r"a\, b\; c\\ d\ne\N"), "a, b; c\\ d\ne\n")

    def test_old(self) -> None:
        """2.1: quoted-printable over several lines, charsets, base64 with and without indent."""
        self.assertEqual(person("N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;J=", "=F6rg", version="2.1"),
                         {"firstName": "Jörg", "lastName": "Müller"})
        self.assertEqual(person(b"N:M\xfcller;J\xf6rg", version="2.1")["lastName"], "Müller")
        packed = base64.b64encode(JPEG).decode()
        for lines in ((packed[:70], packed[70:], ""), (" " + packed[:70], " " + packed[70:])):
            photo = read("FN:A", "PHOTO;JPEG;BASE64:", *lines, "TEL;CELL:1234", version="2.1").photo
            self.assertEqual(photo and photo.data, JPEG)

    def test_bad_lines(self) -> None:
        """A line that can not be read is counted, the rest stands; so does a card inside a card."""
        found, other = cards(b"junk\nBEGIN:VCARD\nwhat\n;:x\nN\xc3:x\nFN:A\nAGENT:\nBEGIN:VCARD\nFN:Inner\nEND:VCARD\nEND:VCARD\nBEGIN:VCARD\nFN:B\n")
        self.assertEqual((found.faults, found.said("fn"), found.broken), (3, "A", ""))
        self.assertEqual((other.said("fn"), other.broken), ("B", "END:VCARD is missing"))
        self.assertIsNone(entry(other, "/b", "").person)

    def test_bounds(self) -> None:
        """8 MiB and 1000 properties a card."""
        large, after = cards(b"BEGIN:VCARD\nFN:A\n" + (b"NOTE:" + b"x" * 1_000_000 + b"\n") * 9 + b"END:VCARD\nBEGIN:VCARD\nFN:B\nEND:VCARD\n")
        self.assertIn("more than", large.broken)
        self.assertEqual((large.properties, after.said("fn")), ([], "B"))
        many, = cards(b"BEGIN:VCARD\nFN:A\n" + b"TEL:123\n" * 5000 + b"END:VCARD\n")
        self.assertEqual((len(many.properties), many.faults), (vcard.PROPERTIES, 4001))

    def test_linear(self) -> None:
        """A megabyte of whatever used to make parsers slow is read to its end: time that grew with its square would not let this test end."""
        for front, piece in ((b"", b'A"'), (b'TEL;TYPE="', b'"'), (b"TEL", b";"), (b"N:", b";"), (b"N:", b"\\;"), (b"N:", b"\\"),
                             (b"PHOTO;BASE64:", b"A\n"),
                             (b"NOTE;ENCODING=QUOTED-PRINTABLE:", b"=\n"), (b"NOTE:", b"\n "), (b"", b"BEGIN:VCARD\n"), (b"", b"item.TEL:1\n")):
            raw = b"BEGIN:VCARD\n" + front + piece * (1_000_000 // len(piece)) + b":x\nEND:VCARD\n"
            self.assertEqual(len([entry(card, "/", "") for card in cards(raw)]), 1)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(
        st.binary(max_size=40), st.sampled_from([
            b"BEGIN:VCARD\r\n", b"END:VCARD\n", b"N:", b"FN:x\n", b"TEL;TYPE=", b"ADR:", b"PHOTO;ENCODING=b:", b"PHOTO:data:image/png;base64\\,",
            b"item1.", b"X-ABLABEL:_$!<Home>!$_\n", b'"', b";", b",", b"\\", b"=", b"\r\n ", b"\n", b"REV:2012-12-31T00:00:00Z\n", b"ORG:",
            b"KIND:group\n",
            b"ENCODING=QUOTED-PRINTABLE:", b"CHARSET=utf-16:", b"CHARSET=rot13:", b"CATEGORIES:a,b\n", b"GENDER:", b"EMAIL:",
            b"URL:"])), max_size=40))
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever the bytes: no exception, and what comes out can be stored."""
        for card in cards(b"BEGIN:VCARD\n" + b"".join(pieces)):
            made = entry(card, "/", "")
            group_card(card)
            categories(card)
            for text in _texts(made.person):
                self.assertNotIn("\0", text)
                text.encode()


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else [value] if isinstance(value, str) else []


class Persons(TestCase):
    """From properties to a contact."""

    def test_names(self) -> None:
        """N, else FN split at its last blank, else the organization, an address, a number."""
        self.assertEqual(person("N:Lovelace;Ada;King,Noel;Dr.;PhD", "FN:x"),
                         {"lastName": "Lovelace", "firstName": "Ada", "middleName": "King Noel", "title": "Dr."})
        self.assertEqual(person("N:;;;;", "FN:Ada  King Lovelace"), {"firstName": "Ada King", "lastName": "Lovelace"})
        self.assertEqual(person("FN:Ada"), {"lastName": "Ada"})
        self.assertEqual(read("ORG:ACME;Sales", "TEL:12345").person,
                         {"contactType": "organization", "organizationName": "ACME, Sales", "basicInfos": [info("phone", "other", "12345")],
                          "addresses": []})
        self.assertEqual(person("TEL:12345", "EMAIL:a@example.org")["lastName"], "a@example.org")
        self.assertEqual((read("TEL:12345").named, read("FN:A").named), (False, True))
        self.assertIsNone(person("NOTE:nothing"))

    def test_organization(self) -> None:
        """A card of a company."""
        for line in ("KIND:org", "X-ABShowAs:COMPANY"):
            self.assertEqual(read("FN:Some", "ORG:ACME", "TITLE:x", "ROLE:tools", line).person,
                             {"contactType": "organization", "organizationName": "ACME", "business": "tools", "basicInfos": [], "addresses": []})

    def test_attributes(self) -> None:
        """Profession and gender."""
        self.assertEqual(person("FN:A", "ORG:ACME;R&D", "GENDER:F;x"), {"lastName": "A", "profession": "ACME, R&D", "gender": "f"})
        self.assertEqual(person("FN:A", "ORG:ACME", "ROLE:Chief", "X-GENDER:Male"), {"lastName": "A", "profession": "Chief", "gender": "m"})
        self.assertEqual(person("FN:A", "ROLE:Chief", "TITLE:Boss", "GENDER:O"), {"lastName": "A", "profession": "Boss"})

    def test_numbers(self) -> None:
        """Types, preferred ones first, each once, tel: with its extension, labels of Apple."""
        found = person("FN:A", "TEL;TYPE=HOME,VOICE:+49 30 1", "TEL;TYPE=cell;PREF=1:0171 1", "TEL;TYPE=\"work,fax\":+49-30-2",
                       "TEL;VALUE=uri:tel:+4930123;ext=102",
                       "TEL:+49301", "item1.TEL:555", "item1.X-ABLabel:_$!<Mobile>!$_", "item2.TEL:556", "item2.X-ABLabel:Boat",
                       "item3.TEL:557", "item3.X-ABLabel:_$!<HomeFAX>!$_", version="4.0")
        self.assertEqual(found["basicInfos"], [
            info("mobile", "other", "0171 1"), info("phone", "home", "+49 30 1"), info("fax", "work", "+49-30-2"),
            info("phone", "other", "+4930123;ext=102"), info("mobile", "other", "555"), info("phone", "other", "556", identifier="Boat"),
            info("fax", "home", "557")])

    def test_addresses(self) -> None:
        """E-mail, web, and postal ones of few or many parts."""
        self.assertEqual(person("FN:A", "EMAIL;TYPE=INTERNET,WORK,PREF:A@Example.org", "EMAIL:mailto:b@example.org",
                                r"URL;TYPE=home:https://example.org/a\,b\;c")["basicInfos"],
                         [info("email", "work", "A@Example.org"), info("email", "other", "b@example.org"),
                          info("website", "home", "https://example.org/a,b;c")])
        self.assertEqual(person("FN:A", r"ADR;TYPE=home:Box 1;Flat 2;1 Main St;City;State;123;Country", r"ADR:;;Line 1\nLine 2",
                                "ADR;LABEL=All of it:;;;;;;")["addresses"], [
            {"addressLine1": "1 Main St", "addressLine2": "Flat 2", "addressLine3": "Box 1", "zipCode": "123", "city": "City", "state": "State",
             "country": "Country", "subtype": "home"},
            {"addressLine1": "Line 1", "addressLine2": "Line 2", "subtype": "other"}, {"addressLine1": "All of it", "subtype": "other"}])

    def test_photos(self) -> None:
        """Inline of 3.0 and 4.0, cut up as Radicale does, by address; what is none is none."""
        packed = base64.b64encode(JPEG).decode()
        for line in (f"PHOTO;ENCODING=b;TYPE=JPEG:{packed}", f"PHOTO:data:image/jpeg;base64,{packed}", f"PHOTO:data:image/jpeg;base64\\,{packed}"):
            photo = read("FN:A", line).photo
            self.assertEqual(photo and photo.data, JPEG)
        photo = read("FN:A", r"PHOTO;VALUE=uri:https://example.org/a\,b.jpg").photo
        self.assertEqual(photo and photo.url, "https://example.org/a,b.jpg")
        for line in ("PHOTO:http://example.org/a", "PHOTO;ENCODING=b:!", "PHOTO:file:///etc/passwd", "PHOTO:"):
            self.assertIsNone(read("FN:A", line).photo)

    def test_limits(self) -> None:
        """Too long a name is cut, too long a number is none; nothing that can not be stored."""
        found = person("N:" + "x" * 300 + ";A\x00B", "TEL:" + "1" * 256, *(f"EMAIL:a{n}@example.org" for n in range(300)))
        self.assertEqual((len(found["lastName"]), found["firstName"], len(found["basicInfos"])), (255, "AB", 200))

    def test_groups(self) -> None:
        """Categories, and the cards of groups, Apple's and those of 4.0."""
        self.assertEqual(read(r"CATEGORIES:Friends,Old\, old", "FN:A").groups, {"category:Friends", "category:Old%2C%20old"})
        for kind, member in (("X-ADDRESSBOOKSERVER-KIND", "X-ADDRESSBOOKSERVER-MEMBER"), ("KIND", "MEMBER")):
            found, = cards(f"BEGIN:VCARD\nUID:G1\nFN:Club\n{kind}:group\n{member}:urn:uuid:ABC\n{member}:def\nEND:VCARD".encode())
            group = group_card(found)
            assert group is not None
            self.assertEqual((group.id, group.name, group.members), ("G1", "Club", {"abc", "def"}))
        self.assertIsNone(group_card(next(cards(b"BEGIN:VCARD\nFN:A\nEND:VCARD"))))

    def test_times(self) -> None:
        """REV in both spellings."""
        for said in ("20121231T000000Z", "2012-12-31T00:00:00.000Z", "2012-12-31", "2012-12-31T01:00:00+01:00", "20121230T230000-0100"):
            self.assertEqual(moment(said), 1356912000000, said)
        for said in ("", "yesterday", "2012-13-01", "0000-01-01T00:00:00Z"):
            self.assertIsNone(moment(said))

    def test_by_vobject(self) -> None:
        """What another library writes as 3.0 is read."""
        made = vobject.vCard()
        made.add("n").value = vobject.vcard.Name(family="Löwe; Söhne", given="Ada, B", prefix="Dr.")
        made.add("fn").value = "Ada Löwe"
        made.add("tel").value = "+49 30 123"
        made.tel.type_param = ["HOME", "CELL"]
        made.add("adr").value = vobject.vcard.Address(street="1 Main; St", city="Köln" * 20, code="123", country="DE")
        made.add("categories").value = ["a", "b,c"]
        found, = cards(made.serialize().encode())
        self.assertEqual(entry(found, "/", "").person, {
            "contactType": "person", "title": "Dr.", "firstName": "Ada, B", "lastName": "Löwe; Söhne", "basicInfos": [info("mobile", "home",
                                                                                                                           "+49 30 123")],
            "addresses": [{"addressLine1": "1 Main; St", "city": "Köln" * 20, "zipCode": "123", "country": "DE", "subtype": "other"}]})
        self.assertEqual(set(categories(found)), {"category:a", "category:b%2Cc"})


_WORD = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\x85"), min_size=1,
                max_size=60).map(str.strip).filter(bool)
_LINE = st.one_of(st.none(), _WORD)


class Written(TestCase):
    """What goes out comes in again."""

    @settings(max_examples=60, deadline=None)
    @given(st.fixed_dictionaries({"firstName": _WORD, "lastName": _WORD}, optional={
        "title": _WORD, "middleName": _WORD, "profession": _WORD, "gender": st.sampled_from("mf"),
        "tags": st.lists(_WORD, max_size=3, unique=True)}), st.lists(_WORD, max_size=3, unique_by=str.lower),
        st.tuples(_WORD, _LINE, _LINE))
    def test_any(self, said: dict[str, Any], values: list[str], lines: tuple[Any, ...]) -> None:
        """Any person."""
        kinds = ("mobile", "email", "fax", "phone")
        infos = [info(kinds[n], ("home", "work", "other")[n], f"{n}{value}"[:255], **({"identifier": value} if value.isalpha() else {}))
                 for n, value in enumerate(values)]
        address = {f"addressLine{n}": text for n, text in enumerate(lines, 1) if text} | {"zipCode": "1;2", "subtype": "work"}
        contact = {"contactType": "person", **said, "basicInfos": infos, "addresses": [address], "displayName": "x y", "id": 7,
                   "changed": 1356912000000}
        text = written(contact, photo=("image/jpeg", JPEG))
        self.assertTrue(all(len(line) <= 75 for line in text.encode().split(b"\r\n")))
        found, = cards(text.encode())
        made = entry(found, "/", "")
        tags = said.pop("tags", [])
        known = {"home", "work", "cell", "fax", "voice", "pref", "internet", "mobile", "iphone", "main", "other", "text", "video", "homefax",
                 "workfax",
                 "homepage", "anniversary", "x400"}
        if not any(i.get("identifier", "").lower() in known for i in infos):
            found_infos = sorted((made.person or {}).pop("basicInfos"), key=lambda i: str(i["value"]))
            self.assertEqual(found_infos, sorted(infos, key=lambda i: str(i["value"])))
            self.assertEqual(made.person, {"contactType": "person", **said, "addresses": [address]})
        self.assertEqual(set(categories(found).values()), set(tags))
        self.assertEqual((made.changed, made.photo and made.photo.data, found.faults), (1356912000000, JPEG, 0))

    def test_organization(self) -> None:
        """A company."""
        contact = {"contactType": "organization", "organizationName": "A, B; C", "business": "x", "displayName": "A, B; C", "basicInfos": [],
                   "addresses": []}
        found, = cards(written(contact).encode())
        self.assertEqual(entry(found, "/", "").person, {k: v for k, v in contact.items() if k != "displayName"})
        self.assertEqual(vobject.readOne(written(contact)).fn.value, "A, B; C")
