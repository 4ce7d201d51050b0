"""Importing from Google, against a People API that is held to Google's own description."""
from __future__ import annotations

from typing import Any

import attrs
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from PIL import Image
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from interactd.imports.google import Google
from interactd.imports.google_person import entry
from interactd.imports.outgoing import Gate
from interactd.imports.person import Json
from interactd.tls import StrictPolicy, trusted
from tests.api_case import Reply
from tests.certificates import Authority, dns
from tests.import_case import ImportCase
from tests.peers import HOLD, Heard, Peer, reply
from tests.people_api import REFRESH, PeopleApi, description, error, person
from tests.test_carddav import Impatient
from tests.test_pictures import file

OURS = Authority()
MOBILE = {"phoneNumbers": [{"value": "+491771", "type": "mobile"}], "emailAddresses": [{"value": "ada@example.org", "type": "work"}]}


class GoogleCase(ImportCase):
    """`self.google` imports from `self.api_`, the peer."""

    async def setUp(self) -> None:
        await super().setUp()
        self.people = PeopleApi()
        self.peer = Peer(self.people)
        await self.peer.listen(self, OURS.sign(dns("people.example", "token.example", "photos.example", "evil.example")))
        self.set_up()

    def set_up(self, **changed: Any) -> None:
        """`google` is the peer, with these settings changed."""
        settings = attrs.evolve(self.config.imports, **{
            "google_client_id": "client", "google_client_secret": "client secret", "google_private": True,
            "google_token_url": f"https://token.example:{self.peer.port}/token", "google_api_url": f"https://people.example:{self.peer.port}",
            **changed})

        async def resolve(host: str) -> list[str]:
            return ["127.0.0.1"]
        self.gate = Gate(reactor, resolve, StrictPolicy(trusted(OURS.pem)), 20.0, 1 << 22)
        patient = Impatient(self.gate, reactor)
        self.pauses = patient.pauses
        self.parts.app.imports.systems["google"] = Google.opening(patient, settings)

    async def google(self, cmd: str = "importContacts", password: str = REFRESH, **query: Any) -> Reply:
        """The answer to an import."""
        said = "".join(f"&{name.replace('_', '-')}={value}" for name, value in query.items())
        return await self.post(f"/v2/import?cmd={cmd}{said}", self.me,
                               {"externalSystem": "google", "username": "ada@gmail.com", "password": password})

    async def good(self, **query: Any) -> Json:
        """The same, which succeeds."""
        answer = await self.google(**query)
        self.assertEqual(answer.status, 200, answer.json)
        return dict(answer.json)

    def bend(self, part: str, *answers: Any) -> None:
        """Requests whose path holds a part get these answers, one after the other; then the ordinary one."""
        left = list(answers)
        self.people.special = lambda heard: left.pop(0) if part in heard.path and left else None

    def asked(self, part: str) -> list[Heard]:
        """The requests whose path holds a part."""
        return [heard for heard in self.peer.heard if part in heard.path]


class Imports(GoogleCase):
    """The list, again and again."""

    async def test_again_and_again(self) -> None:
        """Over pages, then by the sync token: what changed, who was deleted, an unknown deletion."""
        for n in range(5):
            self.people.put(person(f"a{n}", f"N{n}"))
        self.people.put(person("b", "Ada", "Lovelace", **MOBILE))
        self.assertEqual(self.lists(await self.good()), {"created": 6})
        ada = (await self.contacts())["Ada Lovelace"]
        self.assertEqual([(i["type"], i["subtype"], i["value"]) for i in ada["basicInfos"]], [
            ("mobile", "other", "+491771"), ("email", "work", "ada@example.org")])
        self.assertEqual(self.sql("SELECT token FROM import_states"), [("7",)])
        self.assertEqual(self.lists(await self.good()), {})
        self.people.put(person("b", "Ada", "King", etag="%b2", **MOBILE))
        self.people.drop(f"people/c{0xa1}")
        self.people.put(person("c", "Short"))
        self.people.drop(f"people/c{0xc}")
        answer = await self.good()
        self.assertEqual((answer["updated"], self.lists(answer)), ([ada["id"]], {"updated": 1, "deleted": 1}))
        self.assertEqual(len(self.asked("/token")), 1)          # the access token lasts

    async def test_expired_token(self) -> None:
        """EXPIRED_SYNC_TOKEN: the whole list, once; who is not in it is gone."""
        for n in range(3):
            self.people.put(person(f"a{n}", f"N{n}"))
        await self.good()
        self.people.drop(f"people/c{0xa1}")
        self.people.deleted.clear()
        self.people.oldest = 99
        self.assertEqual(self.lists(await self.good()), {"deleted": 1})

    async def test_renamed(self) -> None:
        """Another resource name for the same source, and another source id known by its former name: the same contact."""
        self.people.put(person("a1", "Ada"))
        await self.good()
        ada = (await self.contacts())["Ada X"]
        self.people.people.clear()
        self.people.put(person("a1", "Ada", resourceName="people/c77", etag="%2"))
        self.assertEqual(self.lists(await self.good()), {})
        self.people.people.clear()
        self.people.put(person("a2", "Ada", resourceName="people/c78", etag="%3", metadata={"previousResourceNames": ["people/c77"]}))
        answer = await self.good()
        self.assertEqual((answer["updated"], list(await self.contacts())), ([ada["id"]], ["Ada X"]))
        self.people.drop("people/c78")
        self.assertEqual((await self.good())["deleted"], [ada["id"]])

    async def test_groups(self) -> None:
        """Groups by id; none is in no group of the user's, whatever the system's."""
        def member(*groups: str) -> Json:
            return {"memberships": [{"contactGroupMembership": {"contactGroupId": g,
                                                                "contactGroupResourceName": f"contactGroups/{g}"}} for g in groups]}
        self.people.user_groups = {"4f": "Friends", "5a": "Work"}
        self.assertEqual((await self.google("getContactGroups")).json, [
            {"externalId": "myContacts", "name": "My Contacts"}, {"externalId": "4f", "name": "Friends"}, {"externalId": "5a", "name": "Work"}])
        self.people.put(person("a1", "Friend", **member("4f", "myContacts")))
        self.people.put(person("a2", "Colleague", **member("5a", "myContacts")))
        self.people.put(person("a3", "Nobody", **member("myContacts")))
        self.people.put(person("a4", "Other"))
        for chosen, names in (("4f", ["Friend X"]), ("none", ["Friend X", "Nobody X", "Other X"]),
                              ("myContacts", ["Colleague X", "Friend X", "Nobody X", "Other X"])):
            await self.good(groupIds=chosen)
            self.assertEqual(sorted(await self.contacts()), names)

    async def test_since(self) -> None:
        """updated-min by the source's time."""
        self.people.put(person("a1", "Old", updateTime="2012-12-30T23:59:59.999Z"))
        self.people.put(person("a2", "New", updateTime="2012-12-31T00:00:00.000001Z"))
        await self.good(updated_min="2012-12-31T00:00:00")
        self.assertEqual(list(await self.contacts()), ["New X"])

    async def test_photos(self) -> None:
        """Photos of the contact itself, asked for without the token; default ones are none."""
        source = {"metadata": {"primary": True, "source": {"type": "CONTACT", "id": "a1"}}}
        url = f"https://photos.example:{self.peer.port}/photo/1"
        self.people.special = lambda heard: reply(200, file(Image.new("RGB", (9, 9), "red"))) if heard.path.startswith("/photo/1") else None
        self.people.put(person("a1", "Ada", photos=[{"url": url, **source}]))
        self.people.put(person("a2", "Bob", photos=[{"url": url, "default": True, **source}]))
        self.people.put(person("a3", "Eve", photos=[{"url": f"https://photos.example:{self.peer.port}/photo/none", **source}]))
        self.people.put(person("a4", "Mallory", photos=[{"url": "https://photos.example:1/", **source}]))
        self.assertEqual(self.lists(await self.good()), {"created": 4})
        self.assertEqual({name: [p["type"] for p in c["pictures"]] for name, c in (await self.contacts()).items()},
                         {"Ada X": ["google"], "Bob X": [], "Eve X": [], "Mallory X": []})
        for heard in self.asked("/photo"):
            self.assertNotIn("authorization", heard.headers)
            self.assertTrue(heard.path.endswith("?sz=512"))

    async def test_photo_in_no_time(self) -> None:
        """A photo that does not come: the contact is there without it, and has it when its entry is read again."""
        photo = [{"url": f"https://photos.example:{self.peer.port}/photo/1", "metadata": {"source": {"type": "CONTACT", "id": "a1"}}}]
        self.people.put(person("a1", "Ada", photos=photo))

        def special(heard: Heard) -> Any:
            if heard.path.startswith("/photo"):
                return [HOLD]
            object.__setattr__(self.gate, "timeout", 0.1)       # from here on, where only the photo is left to ask for
            return None
        self.people.special = special
        self.assertEqual(self.lists(await self.good()), {"created": 1})
        self.assertEqual((await self.contacts())["Ada X"]["pictures"], [])
        self.assertEqual(len(self.asked("/photo")), 1)
        object.__setattr__(self.gate, "timeout", 20.0)
        self.people.special = lambda heard: reply(200, file(Image.new("RGB", (9, 9), "red"))) if heard.path.startswith("/photo") else None
        self.people.put(person("a1", "Ada", photos=photo, etag="%new"))
        await self.good()
        self.assertEqual([p["type"] for p in (await self.contacts())["Ada X"]["pictures"]], ["google"])


class Refused(GoogleCase):
    """Logins, quotas, failures."""

    async def test_password(self) -> None:
        """What is no refresh token is refused at once, without asking Google."""
        for password in ("abcdefghijklmnop", "pa55w0rd"):
            answer = await self.google(password=password)
            self.refused(answer, 401, 90020151117001)
            self.assertIn("refresh token", answer.json["devmsg"])
        self.assertEqual(self.peer.heard, [])

    async def test_revoked(self) -> None:
        """invalid_grant: 401, with what may be the reason; the authToken stays good."""
        answer = await self.google(password="1//other")
        self.refused(answer, 401, 90020151117001)
        self.assertIn("revoked", answer.json["devmsg"])
        self.assertEqual((await self.get("/v2/contacts", self.me)).status, 200)

    async def test_client(self) -> None:
        """A client that Google does not know, and none at all, are not the user's fault."""
        for settings in ({"google_client_secret": "wrong"}, {"google_client_id": ""}):
            self.set_up(**settings)
            answer = await self.google()
            self.refused(answer, 503, 90020151117002)
            self.assertIn("google-client-id", answer.json["devmsg"])

    async def test_scope(self) -> None:
        """A token that may not read contacts."""
        self.people.scope = "https://www.googleapis.com/auth/drive"
        self.refused(await self.google(), 403, 90020151117001)

    async def test_not_allowed(self) -> None:
        """403 with Google's words."""
        self.bend("/connections", error(403, "People API has not been used in project 1 before or it is disabled.", "PERMISSION_DENIED"))
        answer = await self.google()
        self.refused(answer, 403, 90020151117001)
        self.assertIn("has not been used in project", answer.json["devmsg"])

    async def test_access_ends(self) -> None:
        """401 in the middle: the access token is renewed once and the page asked for again; a second 401 ends the import."""
        for n in range(4):
            self.people.put(person(f"a{n}", f"N{n}"))
        self.bend("pageToken", error(401, "", "UNAUTHENTICATED"))
        self.assertEqual(self.lists(await self.good()), {"created": 4})
        self.assertEqual(self.people.access, 2)
        self.sql("UPDATE import_states SET token = NULL")
        self.bend("/connections", *[error(401, "", "UNAUTHENTICATED")] * 9)
        self.refused(await self.google(), 401, 90020151117001)

    async def test_quota(self) -> None:
        """429: waited for as told, else longer each time."""
        self.people.put(person("a1", "Ada"))
        self.bend("/connections", error(429, "Quota exceeded", "RESOURCE_EXHAUSTED"), error(429, "x"), error(500, "x"))
        self.assertEqual(self.lists(await self.good()), {"created": 1})
        self.assertEqual([int(p) for p in self.pauses], [5, 10, 1])
        self.bend("/connections", *[error(503, "x")] * 9)
        self.refused(await self.google(), 503, 90020151117002)

    async def test_nonsense(self) -> None:
        """What is not JSON, or another error than expected."""
        for said in (reply(200, b"<html>"), reply(200, b"[]"), error(400, "Request contains an invalid argument.")):
            self.bend("/connections", said)
            self.refused(await self.google(), 503, 90020151117002)
        self.bend("/token", reply(200, b"{"))
        self.set_up()
        self.refused(await self.google(), 503, 90020151117002)

    async def test_odd_people(self) -> None:
        """People of any shape fail by themselves at most."""
        odd = [{}, {"resourceName": 7}, {"names": None}, {"names": [7], "resourceName": "people/c1"},
               {"metadata": {}, "phoneNumbers": [{"value": "123"}]}]
        said = b'{"connections": %s}' % str(odd).replace("'", '"').replace("None", "null").encode()
        self.bend("/connections", reply(200, said))
        answer = await self.google()
        self.assertEqual(answer.status, 200, answer.json)

    async def test_no_secret(self) -> None:
        """Neither token is stored; the API gets no refresh token, nobody else gets an access token."""
        self.people.put(person("a1", "Ada"))
        await self.good()
        self.assertEqual(self.sql("SELECT count(*) FROM import_states s, external_contacts e WHERE s::text || e::text ~ '1//|access1'"), [(0,)])
        for heard in self.asked("/v1/"):
            self.assertNotIn(REFRESH, heard.path + str(heard.headers))
        self.assertNotIn(REFRESH, repr(self.parts.app.imports.systems["google"]("a", REFRESH)))


class Mapping(TestCase):
    """What becomes of a person."""

    def test_person(self) -> None:
        """Every field that is read; primary values first, current organization, labels of one's own."""
        made = entry({
            "resourceName": "people/c1", "etag": "%1", "metadata": {"sources": [{"type": "PROFILE", "id": "9"}, {"type": "CONTACT", "id": "a1"}]},
            "names": [{"givenName": "No"}, {"metadata": {"primary": True}, "honorificPrefix": "Dr.", "givenName": "Ada", "middleName": "K",
                                            "familyName": "L"}],
            "occupations": [], "genders": [{"value": "female"}],
            "organizations": [{"name": "Old", "title": "Clerk"}, {"name": "ACME", "title": "Boss", "current": True}],
            "phoneNumbers": [{"value": "1 23", "type": "workMobile"}, {"value": "456", "type": "homeFax"}, {"value": "123"},
                             {"value": "789", "type": "Boat"},
                             {"value": "55", "type": "home", "metadata": {"primary": True}}],
            "emailAddresses": [{"value": "a@example.org", "type": "home"}], "urls": [{"value": "https://x.example", "type": "homePage"}],
            "addresses": [{"type": "work", "streetAddress": "1 Main\nSt", "extendedAddress": "2", "poBox": "3", "postalCode": "4", "city": "C",
                           "region": "R",
                           "countryCode": "DE"}, {"formattedValue": "All\nof it"}]}, frozenset())
        self.assertEqual((made.external_id, made.place, made.person), ("a1", "people/c1", {
            "contactType": "person", "title": "Dr.", "firstName": "Ada", "middleName": "K", "lastName": "L", "profession": "Boss", "gender": "f",
            "basicInfos": [{"type": "phone", "subtype": "home", "value": "55"}, {"type": "mobile", "subtype": "work", "value": "1 23"},
                           {"type": "fax", "subtype": "home", "value": "456"}, {"type": "phone", "subtype": "other", "value": "789",
                                                                                "identifier": "Boat"},
                           {"type": "email", "subtype": "home", "value": "a@example.org"}, {"type": "website", "subtype": "other",
                                                                                            "value": "https://x.example"}],
            "addresses": [{"addressLine1": "1 Main St", "addressLine2": "2", "addressLine3": "3", "zipCode": "4", "city": "C", "state": "R",
                           "country": "DE",
                           "subtype": "work"}, {"addressLine1": "All, of it", "subtype": "other"}]}))

    def test_names(self) -> None:
        """Without parts the name is split; without a name the organization, an address."""
        for said, wanted in (({"names": [{"unstructuredName": "Ada King L"}]}, {"firstName": "Ada King", "lastName": "L"}),
                             ({"names": [{"displayName": "Ada"}]}, {"lastName": "Ada"}),
                             ({"organizations": [{"name": "ACME"}]}, {"organizationName": "ACME"}),
                             ({"emailAddresses": [{"value": "a@example.org"}]}, {"lastName": "a@example.org"})):
            found = entry(said, frozenset()).person
            assert found is not None
            self.assertEqual({k: v for k, v in found.items() if k.endswith("Name")}, wanted)
        self.assertIsNone(entry({"resourceName": "people/c1"}, frozenset()).person)


class Referee(TestCase):
    """Google's own client against the peer: what the peer does is what that understands."""

    async def test_official_client(self) -> None:
        """Refresh, pages, the sync token on the last one, groups, the expired token, the revoked one."""
        people = PeopleApi(page=10, group_page=10)
        for n in range(25):
            people.put(person(f"a{n}", f"N{n}", **MOBILE))
        people.user_groups = {"4f": "Friends"}
        peer = Peer(people)
        await peer.listen(self)
        found = await deferToThread(self._ask, peer.port)
        self.assertEqual((found["names"], found["token"], found["pages"]), ([f"N{n}" for n in range(25)], "26", 3))
        self.assertEqual(found["groups"], ["My Contacts", "Friends"])
        people.oldest = 99
        self.assertEqual(await deferToThread(self._expired, peer.port, found["token"]), (400, "EXPIRED_SYNC_TOKEN"))
        people.refresh = "1//other"
        with self.assertRaises(RefreshError) as raised:
            await deferToThread(self._ask, peer.port)
        self.assertIn("invalid_grant", str(raised.exception))
        self.assertEqual(description()["name"], "people")

    def _client(self, port: int) -> Any:
        credentials = Credentials(None, refresh_token=REFRESH, token_uri=f"http://127.0.0.1:{port}/token", client_id="client",
                                  client_secret="client secret")
        return build("people", "v1", credentials=credentials, static_discovery=True, client_options={"api_endpoint": f"http://127.0.0.1:{port}"})

    def _ask(self, port: int) -> Json:
        with self._client(port) as client:
            calls, pages = client.people().connections(), 0
            request = calls.list(resourceName="people/me", personFields="names,phoneNumbers", requestSyncToken=True)
            names: list[str] = []
            while request is not None:
                said = request.execute()
                names += [p["names"][0]["givenName"] for p in said["connections"]]
                pages += 1
                request = calls.list_next(request, said)
            groups = client.contactGroups().list(pageSize=1000).execute()["contactGroups"]
            return {"names": names, "token": said["nextSyncToken"], "pages": pages, "groups": [g["formattedName"] for g in groups]}

    def _expired(self, port: int, token: str) -> tuple[int, str]:
        with self._client(port) as client:
            try:
                client.people().connections().list(resourceName="people/me", personFields="names", syncToken=token).execute()
            except HttpError as failure:
                return failure.status_code, failure.error_details[0]["reason"]
        return 200, ""
