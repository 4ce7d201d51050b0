"""Canonical forms: every spelling of one number, address or website is one form, and nothing else is."""
from __future__ import annotations

import phonenumbers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from twisted.trial.unittest import SynchronousTestCase

from interactd.events.numbers import MADE_BY, RULES, Canonical, address, canonical, columns, event_kind, number, version, website
from interactd.events.subscribers import SPELLINGS

thoroughly = settings(max_examples=1500, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
FORMATS = (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL, PhoneNumberFormat.RFC3966)
SETTINGS = st.tuples(st.sampled_from([None, "", "de", "XX", *REGIONS]), st.sampled_from([None, "", "2332", "02332", "11", "812", "x"]))
WRITTEN = st.one_of(
    st.text(max_size=300),
    st.text("0123456789+() -/.x#*,;=:@abcdeTEL٣３\ud800\0", max_size=30),
    st.from_regex(r"\A(\+|00|0|011|8|1)?(49|1|55|54|52|229|39|7|44|81)?0?(9|15|044)?[0-9]{2,14}\Z"))

NOBODY = (
    "", " ", "anonymous", "Anonymous", "unknown", "UNKNOWN", "private", "Private Number", "withheld", "unbekannt", "restricted",
    "-1", "-2", "0", "00000000", "+", "+0", "*31#", "*31#02332667998", "#31#+492332667998", "*21*02332667998#", "tel:*31#02332667998",
    "sip:100@pbx", "sip:anonymous@anonymous.invalid", "sips:+492332667998@pbx.example.org", "sip:+492332667998", "h323:100",
    "me@example.org", "+49233266799812345678", "9" * 16, "9" * 300, "1" + " " * 255 + "2",
    "+266696687", "+7378742833", "+86282452253", "\0", "\ud800", "½")


def form(value: str, region: str | None = "DE", area_code: str = "") -> tuple[str, str] | None:
    """What exact matching compares: canon and extension."""
    found = number(value, region, area_code)
    return (found.canon, found.ext) if found else None


class Table(SynchronousTestCase):
    """Compares a table with what is answered, all rows at once."""

    def same(self, expected: str, region: str | None, *written: str, area_code: str = "", ext: str = "") -> None:
        """Every spelling has this form."""
        self.assertEqual({text: form(text, region, area_code) for text in written}, dict.fromkeys(written, (expected, ext)))


class Formats(Table):
    """However a number is written and wherever it is dialled, it is one number."""

    def test_german_spellings(self) -> None:
        """Blanks, slashes, brackets, prefixes, labels and links say the same number."""
        self.same(
            "+492332667998", "DE", "+492332667998", "02332667998", "02332 667998", "02332/667998", "02332 / 66 79-98", "(02332) 667998",
            "02332-667998", "02332.667.998", "02332–667998", "0049 2332 667998", "00492332667998", "+49 (0) 2332 667998", "+49(0)2332/667998",
            "0049 (0) 2332 667998", "+49 [0] 2332 667998", "+49 02332 667998", "(+49) 2332 667998", "++492332667998", "+ 49 2332 667998",
            "+0049 2332 667998", "+02332 667998", "tel:+49-2332-667998", "tel:02332667998", "TEL:+49%202332%20667998", "callto:+492332667998",
            "tel:667998;phone-context=+492332", "Tel. 02332 667998", "Mobil: 02332 667998", "privat 02332 667998", "02332 667998 (Büro)",
            "02332 667998 HOME", "02332 667998, nur vormittags", "  02332 667998\n", "０２３３２　６６７９９８", "＋４９２３３２６６７９９８",
            "\u202a+49 2332 667998\u202c", "+49\u200b2332\u2060667998", "+49\u00a02332\u00a0667998", "٠٢٣٣٢٦٦٧٩٩٨")

    def test_regions(self) -> None:
        """National, international and foreign spellings meet in every region."""
        self.same("+12025550123", "US", "+1 202-555-0123", "(202) 555-0123", "2025550123", "12025550123", "1-202-555-0123", "202.555.0123")
        self.same("+15551234567", "US", "555 123 4567", "+1 555 123 4567", "1 (555) 123-4567")
        self.same("+12025550123", "DE", "001 202 555 0123", "+12025550123")
        self.same("+492332667998", "US", "011 49 2332 667998", "+492332667998")
        self.same("+442079460018", "GB", "020 7946 0018", "+44 (0)20 7946 0018", "+44 20 79460018", "0044 20 7946 0018")
        self.same("+33142685300", "FR", "01 42 68 53 00", "+33 (0)1 42 68 53 00", "0033142685300", "01.42.68.53.00")
        self.same("+43158858", "AT", "01 58858", "+43 1 588 58", "0043 1 58858", "+43 (0)1/58858")
        self.same("+43158858", "DE", "0043 1 58858")
        self.same("+41443071234", "CH", "044 307 12 34", "+41 (0)44 307 12 34", "0041443071234")
        self.same("+34912345678", "ES", "912 345 678", "+34 (0)912345678", "0034 912 34 56 78")
        self.same("+74951234567", "RU", "8 (495) 123-45-67", "+7 495 1234567", "4951234567", "810 7 495 1234567")
        self.same("+3612345678", "HU", "06 1 234 5678", "+36 (06) 1 234 5678", "+36 1 234 5678")
        self.same("+80012345678", "DE", "+800 1234 5678", "00800 12345678")

    def test_italian_zero(self) -> None:
        """The 0 of an Italian number belongs to it, also in brackets."""
        self.same("+390669812345", "IT", "06 6981 2345", "+39 06 69812345", "0039 06 69812345", "+39 (0)6 69812345", "390669812345")
        self.same("+393123456789", "IT", "312 345 6789", "+39 312 3456789")
        self.assertNotEqual(form("+39 6 69812345"), form("+39 06 69812345"))
        self.assertEqual(number("06 6981 2345", "IT", ""), Canonical("+390669812345", "", "0669812345", "69812345", False))

    def test_every_region(self) -> None:
        """The examples of phonenumbers, in each of its formats, are read as phonenumbers means them; but Canada's 310, which has no area."""
        wrong = {}
        for region in REGIONS:
            for kind in PhoneNumberType.values():
                example = phonenumbers.example_number_for_type(region, kind)
                if example is None or (region, kind) == ("CA", PhoneNumberType.UAN):
                    continue
                written = [phonenumbers.format_number(example, shape) for shape in FORMATS]
                respelled = example.country_code in SPELLINGS
                expected = (form(written[0], None) if respelled else (written[0], ""))
                wrong.update({(region, text): form(text, region) for text in written if form(text, region) != expected})
                if phonenumbers.number_type(example) == PhoneNumberType.MOBILE and not number(written[0], None, "").mobile:
                    wrong[region, written[0]] = ("not mobile", "")
        self.assertEqual(wrong, {})


class Local(Table):
    """Numbers without prefix are local, and never guessed to be more."""

    def test_area_code(self) -> None:
        """A local number gets the configured area code, with or without its 0."""
        self.same("+492332667998", "DE", "667998", "66 79 98", area_code="2332")
        self.same("+492332667998", "DE", "667998", area_code="02332")
        self.same("+12025550123", "US", "555-0123", area_code="202")
        self.same("+78121234567", "RU", "123-45-67", area_code="812")
        self.same("+551123456789", "BR", "2345-6789", area_code="11")

    def test_without_area_code(self) -> None:
        """Kept as the digits they are, which match themselves and have a tail for the suffix rule."""
        self.assertEqual(number("66 79 98", "DE", ""), Canonical("667998", "", "667998", "667998", False))
        self.assertEqual(number("555-0123", "US", ""), Canonical("5550123", "", "5550123", "5550123", False))
        self.assertEqual(number("667998", None, None), Canonical("667998", "", "667998", "667998", False))
        self.assertEqual(number("02332 667998", "XX", ""), Canonical("02332667998", "", "02332667998", "32667998", False))

    def test_whole_numbers_without_prefix(self) -> None:
        """Bare digits that may be a whole number stay what they are, but meet the whole number by nsn and tail."""
        full = number("+492332667998", "DE", "")
        assert full is not None
        for bare in ("2332667998", "492332667998"):
            self.assertEqual(number(bare, "DE", ""), Canonical(bare, "", full.nsn, full.tail, False))
        self.assertEqual(number("492332667998", "DE", "30"), number("492332667998", "DE", ""))
        mobile, bare = number("+4917612345678", "DE", "30"), number("17612345678", "DE", "30")
        assert mobile and bare
        self.assertEqual((bare.canon, bare.nsn, bare.tail), ("17612345678", mobile.nsn, mobile.tail))

    def test_short_numbers_first(self) -> None:
        """Services are their digits, never a subscriber of the area."""
        for service in ("110", "112", "116117", "116 117", "115", "11833", "112 Notruf"):
            digits = "".join(c for c in service if c.isdigit())
            for area_code in ("", "2332"):
                self.assertEqual(number(service, "DE", area_code), Canonical(digits, "", None, digits, False), service)
        self.same("911", "US", "911", area_code="202")
        self.same("000", "AU", "000")

    def test_no_such_number(self) -> None:
        """What a plan has no number for is kept as dialled, in one spelling."""
        self.same("+999123456", "DE", "+999 123 456")
        self.same("+13101234", "CA", "+1 310-1234", "011 1 310-1234")
        self.assertEqual(number("+4912", "DE", ""), Canonical("+4912", "", None, "4912", False))


class Extensions(Table):
    """Extensions are kept apart from the number, whatever they are called."""

    def test_spellings(self) -> None:
        """Names, signs, pauses and the parameter of RFC 3966."""
        self.same(
            "+492332667998", "DE", "tel:+492332667998;ext=102", "tel:+492332667998;isub=1;ext=102", "02332 667998 ext. 102", "02332 667998 x102",
            "02332 667998 X 102", "02332 667998 #102", "02332 667998 Durchwahl 102", "02332 667998 DW102", "02332 667998 (App. 102)",
            "02332 667998,102", "02332 667998;102", "02332667998,,102", "02332667998p102", "02332 667998 extension: 102", "02332 667998 int. 102",
            ext="102")
        self.same("+12025550123", "US", "(202) 555-0123 ext 45", "+1 202 555 0123x45", "2025550123 #45", ext="45")
        self.same("667998", "DE", "667998 x12", ext="12")

    def test_compared_apart(self) -> None:
        """The same number with another extension has the same canon, nsn and tail."""
        one, other = number("02332 667998 x1", "DE", ""), number("02332 667998 x2", "DE", "")
        assert one and other
        self.assertEqual((one.canon, one.nsn, one.tail), (other.canon, other.nsn, other.tail))
        self.assertNotEqual(one, other)

    def test_direct_dialling(self) -> None:
        """A number dialled through begins with its switchboard's."""
        board, through = form("02332 6679-0")[0][:-1], form("+49 2332 6679-123")[0]
        self.assertEqual((board, through[:-3]), ("+4923326679", "+4923326679"))

    def test_letters(self) -> None:
        """Letters are digits where only that makes a number, else a label."""
        self.same("+18003569377", "US", "1-800-FLOWERS", "+1 800 FLOWERS", "1-800-flowers")
        self.same("+41800749921", "CH", "0800 PIZZA1")
        self.same("110", "DE", "110 Polizei", area_code="2332")


class Variants(Table):
    """Two national spellings of one subscriber are one form."""

    def test_brazil(self) -> None:
        """The ninth digit of mobiles is added, also behind a carrier's code; fixed lines keep eight."""
        self.same("+5511981234567", "BR", "+55 11 98123-4567", "+55 11 8123-4567", "(11) 98123-4567", "(11) 8123-4567", "011 8123-4567",
                  "0 15 11 98123-4567", "0 15 11 8123-4567")
        self.same("+5511981234567", "BR", "8123-4567", "98123-4567", area_code="11")
        self.same("+551123456789", "BR", "+55 11 2345-6789", "(11) 2345-6789", "0 15 11 2345-6789")
        self.assertEqual(form("0800 123 4567", "BR"), ("+558001234567", ""))

    def test_mexico(self) -> None:
        """The 1 behind +52 and the prefixes 01, 044, 045 are gone."""
        self.same("+525512345678", "MX", "+52 55 1234 5678", "+52 1 55 1234 5678", "55 1234 5678", "01 55 1234 5678", "044 55 1234 5678",
                  "045 55 1234 5678", "00 52 1 55 1234 5678")
        self.same("+525512345678", "US", "011 52 1 55 1234 5678", "+5215512345678")

    def test_argentina(self) -> None:
        """The 9 and the 15 of mobiles are not part of the subscriber's ten digits."""
        self.same("+541123456789", "AR", "+54 9 11 2345 6789", "+54 11 2345 6789", "+54 11 15 2345 6789", "011 15 2345-6789", "011 2345-6789",
                  "11 2345 6789", "0054 9 11 2345 6789")

    def test_benin(self) -> None:
        """The 01 of 2024 is added."""
        self.same("+2290197123456", "BJ", "+229 97 12 34 56", "+229 01 97 12 34 56", "97123456", "0197123456")

    def test_tails(self) -> None:
        """Both spellings have one tail and one national number, the raw text being kept elsewhere."""
        for one, other in (("+551181234567", "+5511981234567"), ("+5215512345678", "+525512345678"), ("+5491123456789", "+541123456789")):
            first, second = number(one, None, None), number(other, None, None)
            assert first and second
            self.assertEqual((first.canon, first.nsn, first.tail), (second.canon, second.nsn, second.tail))


class Withheld(SynchronousTestCase):
    """Callers that can not be called back have no form, and are never an error."""

    def test_nobody(self) -> None:
        """Words, service codes, SIP addresses, rubbish."""
        for value in NOBODY:
            self.assertIsNone(number(value, "DE", ""), value)
        self.assertIsNone(number(None, "DE", ""))

    def test_columns(self) -> None:
        """Nothing to compare, but the version of the rules that said so."""
        self.assertEqual(columns("phone", "anonymous", "DE", ""),
                         {"canon": None, "ext": "", "nsn": None, "tail": None, "canon_version": version("DE", "")})


class Mobile(SynchronousTestCase):
    """A number is a mobile's where it says so."""

    def test_mobile(self) -> None:
        """By the country's plan; where mobiles and fixed lines look alike, it does not say so."""
        said = {value: getattr(number(value, "DE", "2332"), "mobile") for value in (
            "0176 12345678", "+4915112345678", "02332 667998", "667998", "110", "+12025550123", "+447400123456", "+447797712345", "+18762101234",
            "+436641234567", "+41781234567", "+33612345678", "+393123456789", "+390669812345", "+5511981234567", "+551181234567", "+5491123456789")}
        self.assertEqual([value for value, mobile in said.items() if mobile], [
            "0176 12345678", "+4915112345678", "+447400123456", "+447797712345", "+18762101234", "+436641234567", "+41781234567", "+33612345678",
            "+393123456789", "+5511981234567", "+551181234567", "+5491123456789"])


class Addresses(SynchronousTestCase):
    """E-mail addresses and websites."""

    def test_addresses(self) -> None:
        """Lower case, ASCII domain, without name or mailto."""
        table = {
            "Ada@Example.ORG": "ada@example.org", " ada@example.org\n": "ada@example.org", "Ada L. <ada@example.org>": "ada@example.org",
            "mailto:ada@example.org?subject=x": "ada@example.org", "ada@example.org.": "ada@example.org",
            "ada@bücher.example": "ada@xn--bcher-kva.example",
            "ada@XN--BCHER-KVA.example": "ada@xn--bcher-kva.example", "ada@straße.de": "ada@xn--strae-oqa.de", "jörg@example.org": "jörg@example.org",
            "a.d+a@example.org": "a.d+a@example.org", "ａｄａ＠example.org": "ada@example.org", "root@localhost": "root@localhost",
            "": None, "ada": None, "@example.org": None, "ada@": None, "a da@example.org": None, "a@b@example.org": None, "a@b, c@d": None,
            "a@b;c@d": None, "anonymous@anonymous.invalid": None, "ada@exa mple.org": None, "ada@-\ud800.org": None, "\ud800@example.org": None}
        self.assertEqual({text: getattr(address(text), "canon", None) for text in table}, table)
        self.assertEqual(address("Ada@Example.ORG"), Canonical("ada@example.org", "", None, "ada@example.org", False))

    def test_websites(self) -> None:
        """One form for http and https, www and none, closing slash and none; the path keeps its case."""
        table = {
            "example.org": "https://example.org", "http://example.org/": "https://example.org", "HTTPS://WWW.Example.ORG:443": "https://example.org",
            "www.example.org": "https://example.org", "//example.org": "https://example.org", "http://example.org:80/": "https://example.org",
            "example.org:8080/A/b/": "https://example.org:8080/A/b",
            "http://bücher.example/ä?q=%c3%a4#X": "https://xn--bcher-kva.example/%C3%A4?q=%C3%A4#X",
            "www.com": "https://www.com", "": None, "see the card": None, "ftp://example.org": None, "javascript:alert(1)": None,
            "mailto:a@example.org": None,
            "https://me:secret@example.org": None, "http://": None, "http://[::1": None, "https://example.org:x": None, "\ud800.org": None}
        self.assertEqual({text: getattr(website(text), "canon", None) for text in table}, table)


class Kinds(SynchronousTestCase):
    """Which rule is for which kind."""

    def test_canonical(self) -> None:
        """By the type of the basicInfo."""
        for kind in ("phone", "mobile", "fax"):
            self.assertEqual(canonical(kind, "02332 667998", "DE", ""), number("+492332667998", None, None))
        self.assertEqual(canonical("email", "A@b.org", None, None), address("a@b.org"))
        self.assertEqual(canonical("website", "b.org", None, None), website("b.org"))
        self.assertEqual([canonical(kind, None, "DE", "") for kind in ("phone", "email", "website", None)], [None] * 4)
        self.assertIsNone(canonical(None, "02332 667998", "DE", ""))

    def test_events(self) -> None:
        """Calls and texts have numbers, mails addresses; a handle of an instant message is compared with nothing."""
        kinds = {medium: {event_kind(f"{medium}-{way}") for way in ("incoming", "outgoing")} for medium in ("call", "sms", "email", "im")}
        self.assertEqual(kinds, {"call": {"phone"}, "sms": {"phone"}, "email": {"email"}, "im": {None}})

    def test_columns(self) -> None:
        """Exactly the columns of basic_infos."""
        self.assertEqual(columns("fax", "02332 667998 x7", "DE", ""), {
            "canon": "+492332667998", "ext": "7", "nsn": "2332667998", "tail": "32667998", "canon_version": version("DE", "")})
        self.assertEqual(columns("email", "A@b.org", "DE", ""), {
            "canon": "a@b.org", "ext": "", "nsn": None, "tail": "a@b.org", "canon_version": version("DE", "")})

    def test_version(self) -> None:
        """An int4 other than the 0 of rows never made; the same for the same rules, another for other rules, metadata, region or area."""
        made = [version(region, area) for region in (None, *REGIONS) for area in ("", "2332", "30")]
        self.assertTrue(all(0 < each < 2 ** 31 for each in made))
        self.assertEqual(len(set(made)), len(made))
        self.assertEqual((version("de", None), version(None, "")), (version("DE", ""), version("", None)))
        self.assertIsInstance(version("\ud800", "\ud800"), int)
        self.assertEqual(MADE_BY, f"{RULES}/{phonenumbers.__version__}")
        self.assertEqual(len({version("DE", "", made_by) for made_by in (MADE_BY, f"{RULES + 1}/{phonenumbers.__version__}", f"{RULES}/0")}), 3)


class AnyText(SynchronousTestCase):
    """Whatever is written, the answer is a form that is its own form, or none."""

    @thoroughly
    @given(WRITTEN, SETTINGS)
    def test_numbers(self, value: str, where: tuple[str | None, str | None]) -> None:
        """A canon is read as itself, with the same national number and tail, and fits the rules of matching."""
        found = number(value, *where)
        if found is None:
            return
        again = number(found.canon + (f";ext={found.ext}" if found.ext else ""), *where)
        assert again is not None
        self.assertEqual((again.canon, again.ext, again.nsn, again.tail), (found.canon, found.ext, found.nsn, found.tail))
        self.assertRegex(found.canon, r"\A\+?[0-9]{2,17}\Z")
        self.assertTrue(1 <= len(found.tail) <= 8 and found.canon.endswith(found.tail), found)

    @thoroughly
    @given(st.one_of(st.text(max_size=300), st.text("abcäß@.:/wW?#%<> İſ\0", max_size=30),
                     st.builds("{}@{}".format, st.text(min_size=1, max_size=9), st.text("abcäßİſ.K-Ω", min_size=1, max_size=8)),
                     st.builds("{}{}".format, st.sampled_from(["http://", "www.", "//"]), st.text("abcäß.K-Ω/?#%:", min_size=1, max_size=14))))
    def test_addresses(self, value: str) -> None:
        """Addresses and websites likewise; all can be stored and indexed."""
        for read in (address, website):
            found = read(value)
            if found is not None:
                self.assertEqual(read(found.canon), found)
                self.assertTrue(found.tail == found.canon and len(found.canon.encode()) <= 1000 and "\0" not in found.canon)
