"""CardDAV against Radicale, Xandikos, and a peer that does what these two do not."""
from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet import reactor

from interactd.imports.carddav import CardDav
from interactd.imports.outgoing import Gate
from interactd.imports.patience import Patient
from interactd.imports.person import Json
from interactd.keys import Server
from interactd.tls import StrictPolicy, trusted
from tests.api_case import Reply
from tests.certificates import Authority, dns
from tests.dav_servers import PASSWORD, Dav, card, fresh_user, radicale, xandikos
from tests.import_case import ImportCase
from tests.peers import CUT, HOLD, Heard, Peer, reply

OURS = Authority()
ADA = ("UID:ada", "N:Lovelace;Ada;;;", "FN:Ada Lovelace", "TEL;TYPE=CELL:+491771", "EMAIL;TYPE=WORK:ada@example.org", "CATEGORIES:Friends")
BOB = ("UID:bob", "N:Bar;Bob;;;", "FN:Bob Bar", "TEL:+49302")


@frozen
class Impatient(Patient):
    """Notes the pauses and does not make them."""

    pauses: list[float] = field(factory=list)

    async def wait(self, seconds: float) -> None:
        """Nothing but a note."""
        self.pauses.append(seconds)


class DavCase(ImportCase):
    """`self.dav` imports from a server by the API."""

    user = ""

    async def attach(self, server: Server, timeout: float = 20.0, trust: bytes = OURS.pem) -> None:
        """`carddav` is this server."""
        async def resolve(host: str) -> list[str]:
            return [self.hosts.get(host, "127.0.0.1")]
        self.hosts: dict[str, str] = {}
        patient = Impatient(Gate(reactor, resolve, StrictPolicy(trusted(trust)), timeout, 4 << 20), reactor)
        self.pauses = patient.pauses
        self.parts.app.imports.systems["carddav"] = CardDav.opening(patient, server)

    async def dav(self, cmd: str = "importContacts", password: str = PASSWORD, **query: Any) -> Reply:
        """The answer to an import."""
        said = "".join(f"&{name.replace('_', '-')}={value}" for name, value in query.items())
        body = {"externalSystem": "carddav", "username": self.user, "password": password}
        return await self.post(f"/v2/import?cmd={cmd}{said}", self.me, body)

    async def good(self, **query: Any) -> Json:
        """The same, which succeeds."""
        answer = await self.dav(**query)
        self.assertEqual(answer.status, 200, answer.json)
        return dict(answer.json)


class Shared:
    """What both servers must do; `put` and `delete` write there."""

    server: Dav
    book: str

    async def setUp(self) -> None:
        await super().setUp()
        await self.begin()
        await self.attach(self.server.server, trust=self.server.trust)

    async def begin(self) -> None:
        """`server`, `user` and `book` are set."""
        self.server, self.user = radicale(), fresh_user()
        self.book = await self.server.book(self.user)

    async def put_card(self, name: str, *lines: str, version: str = "3.0") -> None:
        """A card is there."""
        await self.server.put(self.user, f"{self.book}{name}.vcf", card(*lines, version=version))

    async def drop_card(self, name: str) -> None:
        """A card is not there any more."""
        await self.server.delete(self.user, f"{self.book}{name}.vcf")

    async def test_again_and_again(self) -> None:
        """Everything, then nothing, then what changed and went."""
        await self.put_card("a", *ADA)
        await self.put_card("b", *BOB)
        self.assertEqual(self.lists(await self.good()), {"created": 2})
        ada = (await self.contacts())["Ada Lovelace"]
        self.assertEqual([(i["type"], i["subtype"], i["value"]) for i in ada["basicInfos"]], [
            ("email", "work", "ada@example.org"), ("mobile", "other", "+491771")])
        self.assertEqual(self.lists(await self.good()), {})
        await self.put_card("a", *ADA, "TITLE:Countess")
        await self.drop_card("b")
        self.assertEqual(self.lists(await self.good()), {"updated": 1, "deleted": 1})
        self.assertEqual((await self.contacts())["Ada Lovelace"]["profession"], "Countess")
        self.sql("UPDATE import_states SET token = jsonb_build_object((SELECT jsonb_object_keys(token)), 'http://x.example/ns/no-such-token')")
        await self.put_card("c", "UID:c", "FN:Cleo", "N:;Cleo;;;")
        self.assertEqual(self.lists(await self.good()), {"created": 1})

    async def test_groups(self) -> None:
        """Categories and cards of groups."""
        await self.put_card("a", *ADA)
        await self.put_card("b", *BOB)
        await self.put_card("c", "UID:c", "N:;Cleo;;;", "FN:Cleo")
        await self.put_card("g", "UID:g1", "FN:Club", "N:Club;;;;", "X-ADDRESSBOOKSERVER-KIND:group", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:BOB")
        self.assertEqual((await self.dav("getContactGroups")).json, [
            {"externalId": "g1", "name": "Club"}, {"externalId": "category:Friends", "name": "Friends"}])
        for chosen, names in (("g1", ["Bob Bar"]), ("g1,category:Friends", ["Ada Lovelace", "Bob Bar"]),
                              ("none", ["Ada Lovelace", "Bob Bar", "Cleo"])):
            await self.good(groupIds=chosen)
            self.assertEqual(sorted(await self.contacts()), names)

    async def test_membership_changes(self) -> None:
        """A changed card of a group brings its new members, whose own cards did not change."""
        await self.put_card("b", *BOB)
        await self.put_card("g", "UID:g1", "FN:Club", "N:Club;;;;", "X-ADDRESSBOOKSERVER-KIND:group")
        self.assertEqual(self.lists(await self.good(groupIds="g1")), {})
        await self.put_card("g", "UID:g1", "FN:Club", "N:Club;;;;", "X-ADDRESSBOOKSERVER-KIND:group", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:bob")
        self.assertEqual(self.lists(await self.good(groupIds="g1")), {"created": 1})

    async def test_wrong_password(self) -> None:
        """401 … 7001, with a sentence that helps; nothing is changed."""
        answer = await self.dav(password="wrong")
        self.refused(answer, 401, 90020151117001)
        self.assertIn("app password", answer.json["devmsg"])
        self.refused(await self.dav("getContactGroups", password="wrong"), 401, 90020101117001)


class WithRadicale(Shared, DavCase):
    """Radicale: HTTP/1.0, version 3.0."""

    async def test_many(self) -> None:
        """More cards than one request takes, in two books."""
        second = await self.server.book(self.user, "second")
        for n in range(60):
            await self.put_card(f"n{n}", f"UID:n{n}", f"FN:N{n}", f"N:;N{n};;;")
        await self.server.put(self.user, second + "x.vcf", card("UID:x", "FN:X", "N:X;;;;"))
        self.assertEqual(self.lists(await self.good()), {"created": 61})
        reply = await self.server.ask(self.user, "DELETE", second)
        self.assertEqual(reply.status, 200)
        self.assertEqual(self.lists(await self.good()), {"deleted": 1})

    async def test_of_somebody_else(self) -> None:
        """A configured address that is another user's home."""
        await self.attach(Server("carddav", f"{self.server.url}/user59/", True))
        self.refused(await self.dav(), 403, 90020151117001)


class WithXandikos(Shared, DavCase):
    """Xandikos: TLS, version 4.0."""

    async def begin(self) -> None:
        """Its only user; the book is emptied."""
        self.server, self.user, self.book = xandikos(), "user0", "/user/contacts/addressbook/"
        for file in Path(self.server.files, "user/contacts/addressbook").glob("*.vcf"):
            await self.drop_card(file.stem)

    async def put_card(self, name: str, *lines: str, version: str = "3.0") -> None:
        """As version 4.0."""
        await super().put_card(name, *lines, version="4.0")

    async def test_certificate(self) -> None:
        """Without a certificate of somebody trusted it is out of reach."""
        gate = Gate(reactor, _here, StrictPolicy(), 20.0, 1 << 20)
        self.parts.app.imports.systems["carddav"] = CardDav.opening(Impatient(gate, reactor), self.server.server)
        self.refused(await self.dav(), 503, 90020151117002)


async def _here(host: str) -> list[str]:
    return ["127.0.0.1"]


def multistatus(*responses: str, token: str = "") -> bytes:
    """A multistatus."""
    more = f"<D:sync-token>{token}</D:sync-token>" if token else ""
    body = f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav">{"".join(responses)}{more}</D:multistatus>'
    return reply(207, body.encode(), Content_Type="application/xml")


def said(href: str, props: str = "", status: str = "") -> str:
    """A response of a multistatus, with a second propstat of what is not there."""
    inner = f"<D:status>HTTP/1.1 {status}</D:status>" if status else (
        f"<D:propstat><D:prop>{props}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
        "<D:propstat><D:prop><D:getetag>wrong</D:getetag><D:resourcetype><C:addressbook/></D:resourcetype></D:prop>"
        "<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>")
    return f"<D:response><D:href>{href}</D:href>{inner}</D:response>"


@define
class Scripted:
    """A CardDAV server whose answers can be bent; cards by path."""

    cards: dict[str, str] = field(factory=dict)
    home: str = "/home/"
    book: str = "/home/book/"
    syncs: bool = True
    token: str = "t1"
    special: Any = None                     # asked first; None: the ordinary answer

    def __call__(self, heard: Heard) -> Any:
        bent = self.special(heard) if self.special is not None else None
        if bent is not None:
            return bent
        if heard.method == "PROPFIND":
            return self._propfind(heard)
        if b"addressbook-multiget" in heard.body:
            return multistatus(*(said(path, f"<D:getetag>{abs(hash(text))}</D:getetag><C:address-data>{text}</C:address-data>")
                                 for path, text in self.cards.items() if f">{path}<".encode() in heard.body))
        return multistatus(*self.listed(), token=self.token)

    def listed(self) -> list[str]:
        """What a listing says of the cards."""
        return [said(path, f"<D:getetag>{abs(hash(text))}</D:getetag>") for path, text in self.cards.items()]

    def _propfind(self, heard: Heard) -> Any:
        if heard.path == "/.well-known/carddav":
            return reply(301, Location="/root")
        if b"current-user-principal" in heard.body:
            return multistatus(said(heard.path, "<D:current-user-principal><D:href>/me/</D:href></D:current-user-principal>"))
        if b"addressbook-home-set" in heard.body:
            return multistatus(said(heard.path, f"<C:addressbook-home-set><D:href>{self.home}</D:href></C:addressbook-home-set>"))
        if b"supported-report-set" in heard.body:
            report = "<D:supported-report><D:report><D:sync-collection/></D:report></D:supported-report>" if self.syncs else ""
            kind = "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype>"
            return multistatus(said(heard.path, "<D:resourcetype><D:collection/></D:resourcetype>"),
                               said(self.book, f"{kind}<D:supported-report-set>{report}</D:supported-report-set>"))
        return multistatus(said(self.book, "<D:getetag>x</D:getetag><D:resourcetype><D:collection/></D:resourcetype>"), *self.listed())


class Awkward(DavCase):
    """What real servers do and these two do not."""

    user = "me"

    async def setUp(self) -> None:
        await super().setUp()
        self.script = Scripted({"/home/book/a.vcf": card(*ADA), "/home/book/b.vcf": card(*BOB)})
        self.peer = Peer(self.script)
        await self.peer.listen(self, OURS.sign(dns("dav.example", "p07.dav.example", "evil.example")))
        await self.attach(self.entry())

    def entry(self, *hosts: str) -> Server:
        """The configured server."""
        return Server("carddav", f"https://dav.example:{self.peer.port}/", True, hosts)

    def bend(self, method: str, part: bytes, *answers: Any) -> None:
        """Requests of a method that hold a part get these answers, one after the other; then the ordinary one."""
        left = list(answers)

        def special(heard: Heard) -> Any:
            if heard.method == method and (part in heard.body or part.decode() in heard.path) and left:
                return left.pop(0) if len(left) > 1 or left[0] is not None else None
            return None
        self.script.special = special

    def asked(self, part: bytes) -> int:
        """How many requests held a part."""
        return sum(part in heard.body for heard in self.peer.heard)

    async def test_plain(self) -> None:
        """By a redirect of the well-known address; then incremental, by the token."""
        self.assertEqual(self.lists(await self.good()), {"created": 2})
        self.script.token, self.script.cards = "t2", {"/home/book/a.vcf": card(*ADA, "TITLE:x")}
        self.script.special = lambda heard: (multistatus(said("/home/book/b.vcf", status="404 Not Found"), *self.script.listed(), token="t2")
                                             if b"<D:sync-token>t1<" in heard.body else None)
        self.assertEqual(self.lists(await self.good()), {"updated": 1, "deleted": 1})
        self.assertEqual(self.sql("SELECT token FROM import_states")[0][0], {f"https://dav.example:{self.peer.port}/home/book/": "t2"})

    async def test_other_host(self) -> None:
        """The home set on another host: only with the password if the entry lists it, with absolute hrefs there."""
        other = f"https://p07.dav.example:{self.peer.port}"
        self.script.home, self.script.book = f"{other}/home/", f"{other}/home/book/"
        answer = await self.dav()
        self.refused(answer, 503, 90020151117002)
        self.assertIn("p07.dav.example", answer.json["devmsg"])
        self.assertNotIn("p07.dav.example", "".join(heard.headers["host"] for heard in self.peer.heard))
        await self.attach(self.entry("*.dav.example"))
        self.assertEqual(self.lists(await self.good()), {"created": 2})
        self.assertTrue(self.peer.heard[-1].headers["host"].startswith("p07"))

    async def test_redirected_elsewhere(self) -> None:
        """A redirect to a strange host gets no password, so the login fails there."""
        elsewhere = reply(302, Location=f"https://evil.example:{self.peer.port}/")
        self.script.special = lambda heard: (reply(401) if heard.headers["host"].startswith("evil") else
                                             elsewhere if heard.path != "/.well-known/carddav" else None)
        self.refused(await self.dav(), 401, 90020151117001)
        self.assertEqual([heard for heard in self.peer.heard if heard.headers["host"].startswith("evil") and "authorization" in heard.headers], [])

    async def test_no_sync(self) -> None:
        """Without sync-collection the etags are compared, and who is not listed is gone."""
        self.script.syncs = False
        self.assertEqual(self.lists(await self.good()), {"created": 2})
        multigets = self.asked(b"addressbook-multiget")
        self.assertEqual(self.lists(await self.good()), {})
        self.assertEqual(self.asked(b"addressbook-multiget"), multigets)
        del self.script.cards["/home/book/b.vcf"]
        self.assertEqual(self.lists(await self.good()), {"deleted": 1})

    async def test_sync_refused(self) -> None:
        """403 or 500-ish 4xx for ever after it was promised: etags are compared."""
        for status in (403, 400, 415):
            self.script.special = lambda heard: reply(status) if b"sync-collection" in heard.body and heard.method == "REPORT" else None
            self.assertEqual(sorted((await self.good()).keys()), sorted(("externalSystem", "externalSystemAccount", "importTime", "failed", "created",
                                                                         "updated", "deleted")))
        self.assertEqual(len(await self.contacts()), 2)

    async def test_token_refused(self) -> None:
        """Whatever 4xx a token gets, it is tried once more without."""
        await self.good()
        for status in (400, 403, 409, 410, 412):
            self.script.special = lambda heard: reply(status) if b"<D:sync-token>t" in heard.body else None
            del self.script.cards["/home/book/b.vcf"]
            self.assertEqual(self.lists(await self.good()), {"deleted": 1})
            self.script.cards["/home/book/b.vcf"] = card(*BOB)
            self.script.special = None
            self.sql("UPDATE import_states SET token = NULL")
            self.assertEqual(self.lists(await self.good()), {"created": 1})

    async def test_in_parts(self) -> None:
        """507 for the collection: the rest comes with the new token."""
        first, second = self.script.listed()
        full = said("/home/book/", status="507 Insufficient Storage")
        self.script.special = lambda heard: (multistatus(first, full, token="p1") if b"<D:sync-token><" in heard.body else
                                             multistatus(second, token="p2") if b"<D:sync-token>p1<" in heard.body else None)
        self.assertEqual(self.lists(await self.good()), {"created": 2})
        self.assertIn("p2", str(self.sql("SELECT token FROM import_states")))

    async def test_busy_and_away(self) -> None:
        """429 waits as told or longer each time, a minute at most; 5xx and lost connections are tried again."""
        self.bend("REPORT", b"sync-collection", reply(429, Retry_After="7"), reply(429), reply(503), [CUT], reply(500), None)
        self.assertEqual(self.lists(await self.good()), {"created": 2})
        self.assertEqual([int(p) for p in self.pauses], [7, 10, 1, 2, 4])
        for answers, pauses in (([reply(429)] * 9, [5, 10, 20]), ([reply(502)] * 9, [1, 2, 4]), ([reply(429, Retry_After="61")] * 9, [])):
            self.pauses.clear()
            self.bend("PROPFIND", b"home-set", *answers)
            answer = await self.dav()
            self.refused(answer, 503, 90020151117002)
            self.assertTrue(answer.headers.hasHeader("Retry-After"))
            self.assertEqual([int(p) for p in self.pauses][:len(pauses)], pauses)

    async def test_silent(self) -> None:
        """No answer in time, and an answer that stops in the middle."""
        await self.attach(self.entry(), timeout=0.1)
        self.script.special = lambda heard: [HOLD]
        self.refused(await self.dav(), 503, 90020151117002)
        self.script.special = lambda heard: [b"HTTP/1.1 207 X\r\nContent-Length: 1000\r\n\r\n<x>", CUT]
        self.refused(await self.dav(), 503, 90020151117002)

    async def test_unsafe_xml(self) -> None:
        """DOCTYPE, entities, depth, nonsense: 503, and nothing is changed."""
        bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><D:multistatus xmlns:D="DAV:">&b;</D:multistatus>'
        for body in (bomb, b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', b"<a>" * 40 + b"</a>" * 40, b"<a><b></a>", b"", b"\xff\xfe\x00"):
            self.script.special = lambda heard: reply(207, body)
            answer = await self.dav()
            self.refused(answer, 503, 90020151117002)
            self.assertIn("can not be read", answer.json["devmsg"])

    async def test_large_cards(self) -> None:
        """Cards that are too much together are read apart; one that is too much alone is passed over."""
        self.script.cards |= {f"/home/book/{n}.vcf": card(f"UID:{n}", f"N:;N{n};;;", "NOTE:" + "x" * 1_500_000) for n in range(3)}
        self.script.cards["/home/book/huge.vcf"] = card("UID:huge", "N:;Huge;;;", "NOTE:" + "x" * 5_000_000)
        self.assertEqual(self.lists(await self.good()), {"created": 5})

    async def test_no_multiget(self) -> None:
        """A server without multiget gives its cards one by one."""
        self.script.special = lambda heard: (reply(405) if b"addressbook-multiget" in heard.body else
                                             reply(200, self.script.cards[heard.path].encode(), ETag="e") if heard.method == "GET" else None)
        self.assertEqual(self.lists(await self.good()), {"created": 2})

    async def test_gone_between(self) -> None:
        """A card that is listed and not there any more."""
        self.script.special = lambda heard: (multistatus(*self.script.listed(), said("/home/book/c.vcf", "<D:getetag>1</D:getetag>"), token="t1")
                                             if b"sync-collection" in heard.body and heard.method == "REPORT" else None)
        self.assertEqual(self.lists(await self.good()), {"created": 2})

    async def test_no_book(self) -> None:
        """A user without address book."""
        self.script.special = lambda heard: multistatus(said(heard.path, "<D:resourcetype><D:collection/></D:resourcetype>"))
        answer = await self.dav()
        self.refused(answer, 503, 90020151117002)
        self.assertIn("no address book", answer.json["devmsg"])

    async def test_book_itself(self) -> None:
        """The configured address is the address book."""
        kind = "<D:resourcetype><D:collection/><C:addressbook/></D:resourcetype>"
        await self.attach(Server("carddav", f"https://dav.example:{self.peer.port}/home/book/", True))
        self.script.special = lambda heard: (multistatus(said("/home/book/", kind)) if heard.method == "PROPFIND" and b"resourcetype" in heard.body
                                             and b"getetag" not in heard.body else None)
        self.assertEqual(self.lists(await self.good()), {"created": 2})

    async def test_password_stays_here(self) -> None:
        """The password goes out in the header and nowhere else; it is not in what is logged or stored."""
        await self.good(password=PASSWORD)
        secret = b64encode(f"me:{PASSWORD}".encode()).decode()
        for heard in self.peer.heard:
            self.assertEqual(heard.headers["authorization"], f"Basic {secret}")
            self.assertNotIn(PASSWORD.encode(), heard.body + heard.path.encode())
        self.assertEqual(self.sql("SELECT count(*) FROM import_states s WHERE s::text LIKE %s OR s::text LIKE %s", f"%{PASSWORD}%", f"%{secret}%"),
                         [(0,)])
