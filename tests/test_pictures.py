"""Pictures: what is read and how it is kept, who may load it, which one is the default."""
from __future__ import annotations

import os
import struct
import threading
import zlib
from base64 import b64encode
from io import BytesIO
from typing import Any

from PIL import Image
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from interactd.config import Limits
from interactd.errors import Unavailable
from interactd.images import MOST_BYTES, Images, Unfit, encoded
from tests.api_case import Person, Reply
from tests.test_contacts import ContactCase

SECRET = b"a secret place"


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as the bytes of a file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The image in the bytes of a file."""
    image = Image.open(BytesIO(data))
    image.load()
    return image


def halves(width: int = 40, height: int = 20) -> Image.Image:
    """Blue on the left, red on the right."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (0, 0, width // 2, height))
    return image


def turned() -> Image.Exif:
    """Metadata: turn the picture right by a quarter; a secret."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, SECRET.decode()
    return exif


def noise(width: int, height: int) -> Image.Image:
    """What no encoder makes small."""
    return Image.frombytes("RGB", (width, height), os.urandom(width * height * 3))


def claims(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with next to nothing behind it."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))


class Reading(SynchronousTestCase):
    """Bytes to what is kept."""

    def unfit(self, said: str | bytes, problem: str, detail: int = 2003) -> None:
        """It is refused."""
        refused = self.assertRaises(Unfit, encoded, said)
        self.assertIn(problem, refused.problem)
        self.assertEqual(refused.detail, detail)

    def test_each_format(self) -> None:
        """JPEG stays JPEG, the others become PNG; the picture is the same, in new bytes."""
        for kind, media in (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/png"), ("WEBP", "image/png")):
            sent = file(halves(64, 32), kind)
            kept = encoded(sent)
            image = opened(kept.image)
            self.assertEqual((kept.media_type, image.size, Image.MIME[image.format or ""]), (media, (64, 32), media))
            left, right = image.convert("RGB").getpixel((8, 16)), image.convert("RGB").getpixel((56, 16))
            for got, wanted in zip((*left, *right), (0, 0, 255, 255, 0, 0)):  # type: ignore[misc]
                self.assertApproximates(got, wanted, 12, kind)

    def test_metadata(self) -> None:
        """The orientation is applied; EXIF, comments, texts, profiles and what stands behind the picture are gone."""
        profile = SECRET * 50
        for kind, more in (("JPEG", {"comment": SECRET, "icc_profile": profile}), ("PNG", {"icc_profile": profile}), ("WEBP", {"xmp": SECRET})):
            sent = file(halves(), kind, exif=turned(), **more) + SECRET
            self.assertIn(SECRET, sent)
            kept = encoded(sent)
            for part in (kept.image, kept.thumb64, kept.thumb256):
                self.assertNotIn(SECRET, part)
                self.assertEqual((opened(part).getexif(), set(opened(part).info) & {"exif", "icc_profile", "comment", "xmp"}), ({}, set()))
            image = opened(kept.image).convert("RGB")
            self.assertEqual(image.size, (20, 40))
            top: Any = image.getpixel((10, 5))
            self.assertGreater(top[2], 200, "blue was left and is now above")

    def test_damaged_metadata(self) -> None:
        """They are dropped anyway."""
        self.assertEqual(opened(encoded(file(halves(), "JPEG", exif=b"Exif\0\0damaged")).image).size, (40, 20))

    def test_colours(self) -> None:
        """Grey of 16 bits, CMYK, palettes and what shows through."""
        grey = opened(encoded(file(Image.new("I;16", (4, 4), 0x8000))).image)
        self.assertEqual(grey.getpixel((0, 0)), (128, 128, 128))
        red: Any = opened(encoded(file(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).image).getpixel((0, 0))
        self.assertGreater(red[0], 240)
        self.assertLess(red[1], 20)
        clear = opened(encoded(file(Image.new("P", (4, 4), 3), "GIF", transparency=3)).image)
        self.assertEqual((clear.mode, clear.getpixel((0, 0))[3]), ("RGBA", 0))  # type: ignore[index]
        self.assertEqual(opened(encoded(file(Image.new("RGBA", (4, 4), (1, 2, 3, 255)))).image).mode, "RGB")

    def test_sizes(self) -> None:
        """Thumbnails fit into their squares and are never enlarged; what is larger than 2048 pixels a side is made smaller."""
        kept = encoded(file(halves(3000, 1500), "JPEG"))
        self.assertEqual([opened(part).size for part in (kept.image, kept.thumb256, kept.thumb64)], [(2048, 1024), (256, 128), (64, 32)])
        self.assertEqual({opened(part).format for part in (kept.image, kept.thumb256, kept.thumb64)}, {"JPEG"})
        small = encoded(file(halves(100, 300)))
        self.assertEqual([opened(part).size for part in (small.image, small.thumb256, small.thumb64)], [(100, 300), (85, 256), (21, 64)])
        line = encoded(file(Image.new("RGB", (9000, 1))))
        self.assertEqual([opened(part).size for part in (line.image, line.thumb256, line.thumb64)], [(2048, 1), (256, 1), (64, 1)])

    def test_no_drawing(self) -> None:
        """What is large as PNG is kept as JPEG, on white."""
        image = noise(700, 600)
        image.putalpha(0)
        sent = file(image)
        kept = encoded(sent)
        self.assertEqual(kept.media_type, "image/jpeg")
        self.assertLess(len(kept.image), len(sent) // 10)
        self.assertEqual(opened(kept.image).getpixel((0, 0)), (255, 255, 255))

    def test_many_frames(self) -> None:
        """Of what moves the first picture is kept, and the others are not looked at."""
        frames = [Image.new("RGB", (100, 100), (9, 8, n)) for n in range(250)]
        sent = file(frames[0], "GIF", save_all=True, append_images=frames[1:])
        self.assertGreater(getattr(Image.open(BytesIO(sent)), "n_frames"), 100)
        whole, cut = encoded(sent), encoded(sent[:len(sent) // 2])
        self.assertEqual(opened(whole.image).getpixel((0, 0)), (9, 8, 0))
        self.assertEqual(getattr(opened(whole.image), "n_frames", 1), 1)
        self.assertEqual(cut, whole)

    def test_bombs(self) -> None:
        """The header says the size, and no pixel is decoded; a file of many scans is none either."""
        for width, height in ((10000, 4001), (12000, 12000), (40000, 40000)):
            self.unfit(claims(width, height), "40000000 pixels", 2004)
        self.unfit(file(Image.new("1", (20000, 9000))), "40000000 pixels", 2004)
        jpeg = file(halves(), "JPEG", progressive=True)
        start = jpeg.index(b"\xff\xda")
        self.unfit(jpeg[:start] + jpeg[start:-2] * 60 + jpeg[-2:], "fewer scans", 2004)
        self.unfit(b"\0" * (MOST_BYTES + 1), "bytes", 2004)

    def test_no_pictures(self) -> None:
        """Cut, empty, garbage, other kinds of file."""
        png, jpeg = file(noise(60, 60)), file(noise(60, 60), "JPEG")
        for data in (png[:len(png) // 2], jpeg[:len(jpeg) // 2], file(noise(60, 60), "WEBP")[:500], claims(1000, 1000), b"", SECRET * 50,
                     file(halves(), "BMP"), file(halves(), "TIFF"), b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4"):
            self.unfit(data, "whole JPEG, PNG, GIF or WebP")

    def test_base64(self) -> None:
        """With line breaks, without padding, as a data URL; nothing else."""
        plain = file(halves(41, 21))
        said = b64encode(plain).decode()
        wanted = encoded(plain)
        for text in (said, "\r\n".join(said[n:n + 76] for n in range(0, len(said), 76)), said.rstrip("="), "data:image/png;base64," + said):
            self.assertEqual(encoded(text), wanted)
        for text in ("?", "ä" + said, said[:-1] + "!", "data:", "a"):
            self.assertRaises(Unfit, encoded, text)


class Queue(TestCase):
    """Threads, and how many wait."""

    async def test_bounded(self) -> None:
        """One at a time, some wait, the next one is refused; the reactor is free meanwhile."""
        images = Images(Limits(pictures_at_once=1, pictures_waiting=2), reactor)
        images.startService()
        self.addCleanup(images.stopService)
        gate, inside = threading.Event(), Deferred[None]()

        def held() -> None:
            reactor.callFromThread(inside.callback, None)  # type: ignore[attr-defined]
            gate.wait(30)
        first = Deferred.fromCoroutine(images.off_thread(held))
        await inside
        waiting = [Deferred.fromCoroutine(images.read(file(halves()))) for _ in range(2)]
        await self.assertFailure(Deferred.fromCoroutine(images.read(file(halves()))), Unavailable)
        self.assertEqual([d.called for d in (first, *waiting)], [False] * 3)
        gate.set()
        await first
        self.assertEqual([(await d).media_type for d in waiting], ["image/png"] * 2)


class PictureCase(ContactCase):
    """A contact with pictures."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ada = await self.make()

    async def upload(self, image: Image.Image | None = None, who: Person | None = None, **more: Any) -> Any:
        """A picture that was taken."""
        body = {"contactId": self.ada["id"], "base64": b64encode(file(image or halves())).decode(), **more}
        reply = await self.put("/v2/pictures", who or self.me, body)
        self.assertEqual((reply.status, reply.json.get("code"), reply.json.get("devmsg")), (200, 201, "success"), reply.json)
        return reply.entity

    async def listed(self) -> list[Any]:
        """The contact's pictures."""
        reply = await self.get("/v2/contacts/%d/pictures" % self.ada["id"], self.me)
        self.assertEqual(reply.status, 200)
        return list(reply.json)

    async def defaults(self) -> list[int]:
        """The ids of the contact's default pictures."""
        return [p["id"] for p in await self.listed() if p["isDefault"]]


class Uploads(PictureCase):
    """PUT, GET, POST, DELETE."""

    async def test_upload_and_read(self) -> None:
        """The answer, the reading, the list and the contact agree."""
        made = await self.upload()
        self.assertEqual(made, {"id": made["id"], "contactId": self.ada["id"], "isDefault": True, "type": "interact", "url": made["url"]})
        self.assertRegex(made["url"], r"^/v2/pictures/%d/image\?k=[0-9a-f]{32}$" % made["id"])
        self.assertEqual((await self.get("/v2/pictures/%d" % made["id"], self.me)).json, made)
        self.assertEqual(await self.listed(), [made])
        page = (await self.get("/v2/contacts/%d/pictures?limit=1" % self.ada["id"], self.me)).json
        self.assertEqual(page, {"data": [made], "length": 1, "startIndex": 0, "totalLength": 1})
        contact = await self.read(self.ada)
        self.assertEqual((contact["pictures"], contact["version"]), ([{"type": "interact", "url": made["url"]}], self.ada["version"]))
        self.assertEqual((await self.read(self.ada, "thin"))["picture"], made["url"])
        self.assertEqual((await self.read(self.ada, "flat"))["pictures"], [made["url"]])
        script = await self.get("/v2/pictures/%d?callback=show" % made["id"], self.me)
        self.assertTrue(script.raw.startswith(b"/**/show({"))

    async def test_more_than_other_bodies(self) -> None:
        """A picture may be larger than other bodies; beyond 5 MB of it, and 8 MiB of body, it is refused."""
        large = file(noise(1100, 1100))
        self.assertGreater(len(large), 3 << 20)
        body = {"contactId": self.ada["id"], "base64": b64encode(large).decode()}
        self.assertEqual((await self.put("/v2/pictures", self.me, body)).status, 200)
        body["base64"] = b64encode(large + b"\0" * (MOST_BYTES - len(large) + 1)).decode()
        self.refused(await self.put("/v2/pictures", self.me, body), 400, 92010121002004)
        body["base64"] = "A" * (8 << 20)
        self.refused(await self.put("/v2/pictures", self.me, body), 413, 93000121002004)
        self.assertEqual(len(await self.listed()), 1)

    async def test_refused(self) -> None:
        """What is no picture is named; nothing is stored, no number used."""
        before = self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)
        for said, detail in (("@", 2003), (b64encode(b"no picture").decode(), 2003), (b64encode(claims(10000, 10000)).decode(), 2004), ("", 2002)):
            reply = await self.put("/v2/pictures", self.me, {"contactId": self.ada["id"], "base64": said})
            self.refused(reply, 400, 92010121000000 + detail)
            self.assertEqual([d["attribute"] for d in reply.json["details"]], ["base64"])
        self.refused(await self.put("/v2/pictures", self.me, {}), 400, 92020121002001)
        said = b64encode(file(halves())).decode()
        for contact in (4711, (await self.make(self.person()))["id"]):
            self.refused(await self.put("/v2/pictures", self.me, {"contactId": contact, "base64": said}), 404, 91040121003003)
        self.assertEqual((await self.listed(), self.sql("SELECT seq FROM counters WHERE user_id = %s", self.me.id)), ([], before))

    async def test_update(self) -> None:
        """Another image has another address; what was sent back is ignored."""
        made = await self.upload()
        same = await self.post("/v2/pictures/%d" % made["id"], self.me, {k: v for k, v in made.items()})
        self.assertEqual((same.status, same.entity), (200, made))
        other = await self.post("/v2/pictures/%d" % made["id"], self.me, {"base64": b64encode(file(halves(10, 10), "JPEG")).decode()})
        self.assertEqual({**other.entity, "url": made["url"]}, made)
        self.assertNotEqual(other.entity["url"], made["url"])
        self.refused(await self.get(made["url"]), 404, 91190101001001)
        answer = await self.get(other.entity["url"])
        self.assertEqual((opened(answer.raw).size, answer.headers.getRawHeaders("content-type")), ((10, 10), ["image/jpeg"]))
        self.refused(await self.post("/v2/pictures/%d" % made["id"], self.me, {"base64": None}), 400, 92010111002002)
        self.refused(await self.post("/v2/pictures/%d" % made["id"], self.me, {"base64": "AAAA"}), 400, 92010111002003)
        self.assertEqual((await self.get(other.entity["url"])).raw, answer.raw)

    async def test_defaults(self) -> None:
        """The first by itself, then whichever says so, one at a time; when it goes, the oldest follows."""
        first, second = await self.upload(), await self.upload()
        self.assertEqual((first["isDefault"], second["isDefault"]), (True, False))
        third = await self.upload(isDefault=True)
        self.assertEqual(await self.defaults(), [third["id"]])

        async def say(picture: Any, default: bool) -> list[int]:
            reply = await self.post("/v2/pictures/%d" % picture["id"], self.me, {"isDefault": default})
            self.assertEqual(reply.entity["isDefault"], [reply.entity["id"]] == await self.defaults())
            return await self.defaults()
        self.assertEqual(await say(second, True), [second["id"]])
        self.assertEqual(await say(second, True), [second["id"]])
        self.assertEqual(await say(second, False), [first["id"]])
        self.assertEqual(await say(first, False), [second["id"]])
        self.assertEqual(await say(third, False), [second["id"]])
        self.assertEqual((await self.delete("/v2/pictures/%d" % second["id"], self.me)).json["code"], 204)
        self.assertEqual(await self.defaults(), [first["id"]])
        self.assertEqual((await self.read(self.ada, "thin"))["picture"], first["url"])
        self.assertEqual((await self.delete("/v2/pictures?ids=%d,%d" % (first["id"], third["id"]), self.me)).status, 200)
        self.assertEqual((await self.listed(), (await self.read(self.ada))["pictures"]), ([], []))
        self.assertNotIn("picture", await self.read(self.ada, "thin"))
        only = await self.upload()
        self.assertEqual(await say(only, False), [only["id"]])

    async def test_external(self) -> None:
        """A picture of an external system keeps its image and stays, but may be the default; of several then none is deleted."""
        mine, theirs = await self.upload(), await self.upload()
        self.sql("UPDATE pictures SET type = 'google' WHERE id = %s", theirs["id"])
        said = b64encode(file(halves())).decode()
        path = "/v2/pictures/%d" % theirs["id"]
        for body in ({"base64": said}, {"base64": "no picture"}):
            self.refused(await self.post(path, self.me, body), 403, 93050111001001)
        self.refused(await self.delete(path, self.me), 403, 93050141001001)
        self.refused(await self.delete("/v2/pictures?ids=%d,%d" % (mine["id"], theirs["id"]), self.me), 403, 93050141001001)
        self.refused(await self.delete("/v2/pictures?ids=%d,4711" % mine["id"], self.me), 404, 91190141001001)
        self.assertEqual((await self.post(path, self.me, {"isDefault": True})).entity["type"], "google")
        self.assertEqual(await self.defaults(), [theirs["id"]])
        self.assertEqual(len(await self.listed()), 2)

    async def test_somebody_elses(self) -> None:
        """Is not there: reading, changing, deleting."""
        made, other = await self.upload(), self.person()
        said = b64encode(file(halves())).decode()
        path = "/v2/pictures/%d" % made["id"]
        self.refused(await self.get(path, other), 404, 91190101001001)
        for body in ({}, {"isDefault": True}, {"base64": said}):
            self.refused(await self.post(path, other, body), 404, 91190111001001)
        self.refused(await self.delete(path, other), 404, 91190141001001)
        self.refused(await self.delete("/v2/pictures?ids=%d" % made["id"], other), 404, 91190141001001)
        self.assertEqual(await self.listed(), [made])

    async def test_activities(self) -> None:
        """Each change is one, and shows neither image nor address."""
        made = await self.upload()
        await self.post("/v2/pictures/%d" % made["id"], self.me, {"base64": b64encode(file(halves(9, 9))).decode()})
        await self.delete("/v2/pictures/%d" % made["id"], self.me)
        rows = self.sql("SELECT action, coalesce(old_state, new_state)::text FROM activities WHERE entity_type = 'picture' ORDER BY id")
        self.assertEqual([row[0] for row in rows], ["insert", "update", "delete"])
        for _, state in rows:
            self.assertNotIn("k=", state)
            self.assertNotIn("base64", state)
            self.assertIn('"isDefault":true', state.replace(" ", ""))

    async def test_a_change_of_the_contact(self) -> None:
        """Each raises the contact's number, so that its devices hear of it."""
        def numbers() -> tuple[int, int]:
            return self.sql("SELECT c.seq, n.seq FROM contacts c JOIN counters n USING (user_id) WHERE c.id = %s", self.ada["id"])[0]  # type: ignore
        made, seen = await self.upload(), numbers()
        for body in ({"isDefault": True}, {"base64": b64encode(file(halves(9, 9))).decode()}):
            await self.post("/v2/pictures/%d" % made["id"], self.me, body)
            now = numbers()
            self.assertEqual((now[0], now[0] > seen[0]), (now[1], True))
            seen = now
        await self.delete("/v2/pictures/%d" % made["id"], self.me)
        self.assertEqual((numbers()[0], numbers()[0] > seen[0]), (numbers()[1], True))

    async def test_end(self) -> None:
        """They go with the contact, and with the account."""
        made = await self.upload()
        await self.upload()
        await self.delete("/v2/contacts/%d" % self.ada["id"], self.me)
        self.assertEqual(self.sql("SELECT count(*) FROM pictures"), [(0,)])
        self.refused(await self.get(made["url"]), 404, 91190101001001)
        self.ada = await self.make()
        url = (await self.upload())["url"]
        admin = self.person(roles=("interact_admin",))
        self.assertEqual((await self.post("/v2/admin/users/%d?cmd=wipeAccount" % self.me.id, admin)).status, 200)
        self.assertEqual(self.sql("SELECT count(*) FROM pictures"), [(0,)])
        self.refused(await self.get(url), 404, 91190101001001)


class Addresses(PictureCase):
    """What an <img> loads."""

    settings = {"INTERACTD_HTTP_PUBLIC_URL": "https://crm.example.org"}

    async def load(self, url: str, **headers: str) -> Reply:
        """The picture at an address, without any credential."""
        self.assertTrue(url.startswith("https://crm.example.org/v2/"), url)
        return await self.get(url.removeprefix("https://crm.example.org"), None, **headers)

    async def test_image_and_thumbnails(self) -> None:
        """The picture itself, and in two sizes, with what keeps it harmless and cached."""
        made = await self.upload(halves(400, 200))
        sizes = {}
        for more, side in (("", 400), ("&size=256", 256), ("&size=64", 64)):
            answer = await self.load(made["url"] + more)
            self.assertEqual((answer.status, opened(answer.raw).size), (200, (side, side // 2)))
            said = {name: (answer.headers.getRawHeaders(name) or [""])[0] for name in
                    ("content-type", "cache-control", "x-content-type-options", "content-security-policy", "referrer-policy")}
            self.assertEqual(said, {"content-type": "image/png", "cache-control": "private, max-age=31536000, immutable",
                                    "x-content-type-options": "nosniff", "content-security-policy": "sandbox", "referrer-policy": "no-referrer"})
            sizes[(answer.headers.getRawHeaders("etag") or [""])[0]] = side
        self.assertEqual(list(sizes.values()), [400, 256, 64])
        self.refused(await self.load(made["url"] + "&size=100"), 400, 92010101002003)

    async def test_not_changed(self) -> None:
        """Whoever has it is told so, and sent nothing."""
        made = await self.upload()
        etag = ((await self.load(made["url"])).headers.getRawHeaders("etag") or [""])[0]
        self.assertRegex(etag, '^"[0-9a-f]{32}"$')
        for known in (etag, "W/" + etag, '"other", ' + etag, "*"):
            answer = await self.load(made["url"], If_None_Match=known)
            self.assertEqual((answer.status, answer.raw, answer.headers.getRawHeaders("etag")), (304, b"", [etag]))
            self.assertEqual([answer.headers.getRawHeaders(name) for name in ("content-type", "content-length")], [None, None])
            self.assertIn("max-age", (answer.headers.getRawHeaders("cache-control") or [""])[0])
        for known in ('"other"', etag[:-2] + '"', ""):
            self.assertEqual((await self.load(made["url"], If_None_Match=known)).status, 200)
        self.assertEqual((await self.load(made["url"] + "&size=64", If_None_Match=etag)).status, 200)

    async def test_only_with_its_key(self) -> None:
        """Another key, another picture's, none: 404 as if there were no picture; nor does an ETag tell of it."""
        made, other = await self.upload(), await self.upload()
        etag = ((await self.load(made["url"])).headers.getRawHeaders("etag") or [""])[0]
        address, _, key = made["url"].partition("?k=")
        theirs = other["url"].partition("?k=")[2]
        self.assertNotEqual(key, theirs)
        unknown = (await self.load(address.replace(str(made["id"]), "4711") + "?k=" + key)).raw
        for wrong in (theirs, key[:-1], key.upper() + "x", "", "%C3%A4"):
            answer = await self.load(f"{address}?k={wrong}", If_None_Match=etag)
            self.assertEqual(answer.status, 404 if wrong else 400)
            if wrong:
                self.assertEqual(answer.raw, unknown)
        self.refused(await self.load(address), 400, 92020101002001)
        self.sql("UPDATE pictures SET image = NULL WHERE id = %s", made["id"])
        self.refused(await self.load(made["url"]), 404, 91190101001001)

    async def test_head(self) -> None:
        """HEAD says what GET would."""
        made = await self.upload()
        path = made["url"].removeprefix("https://crm.example.org")
        whole, head = await self.get(path), await self.ask("HEAD", path)
        self.assertEqual((head.status, head.raw, head.headers.getRawHeaders("content-length")), (200, b"", [str(len(whole.raw))]))


class Shares(PictureCase):
    """Little room."""

    settings = {"INTERACTD_LIMITS_PICTURE_BYTES": "5000", "INTERACTD_LIMITS_ITEMS": "3"}

    async def test_room(self) -> None:
        """So many bytes a user, thumbnails included, so many pictures a contact; replacing one counts the new one only."""
        said = b64encode(file(noise(20, 20))).decode()
        made = await self.put("/v2/pictures", self.me, {"contactId": self.ada["id"], "base64": said})
        self.assertEqual(made.status, 200)
        self.assertEqual(self.sql("SELECT octet_length(image) + octet_length(thumb64) + octet_length(thumb256) > 2500 FROM pictures"), [(True,)])
        self.refused(await self.put("/v2/pictures", self.me, {"contactId": self.ada["id"], "base64": said}), 400, 92010121002004)
        self.assertEqual((await self.post("/v2/pictures/%d" % made.entity["id"], self.me, {"base64": said})).status, 200)
        await self.delete("/v2/pictures/%d" % made.entity["id"], self.me)
        for _ in range(3):
            await self.upload(halves(4, 4))
        reply = await self.put("/v2/pictures", self.me, {"contactId": self.ada["id"], "base64": b64encode(file(halves(4, 4))).decode()})
        self.refused(reply, 400, 92010121002004)
        self.assertEqual(len(await self.listed()), 3)
        self.assertEqual((await self.put("/v2/pictures", other := self.person(), {
            "contactId": (await self.make(other))["id"], "base64": said})).status, 200)
