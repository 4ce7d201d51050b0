"""Pictures: decoded and encoded anew, off the reactor thread; nothing is kept as it was sent.

What comes is a stranger's: its format is told by its bytes, its size by its header before a pixel is decoded, and of what
moves only the first picture is looked at.
"""
from __future__ import annotations

import binascii
import hashlib
import re
import warnings
from base64 import b64decode
from functools import partial
from io import BytesIO
from typing import Any

from attrs import frozen
from PIL import Image, ImageOps

from interactd.config import Limits
from interactd.threads import Threads

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
MOST_BYTES = 5 << 20
MOST_PIXELS = 40_000_000
MOST_SCANS = 200          # of a progressive JPEG: each is a walk over the whole picture for a few bytes
SIDE = 2048               # pixels of the longer side that are kept
THUMBNAILS = (64, 256)
LARGEST_PNG = 1 << 20     # beyond it a picture is no drawing
JPEG, PNG = "image/jpeg", "image/png"

# The size is judged here, by every picture's header.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class Unfit(Exception):
    """What was sent is no picture, or more than one may be: `problem` says so, `detail` is the code's last part."""

    def __init__(self, problem: str, detail: int = 2003) -> None:
        super().__init__(problem)
        self.problem = problem
        self.detail = detail


@frozen
class Encoded:
    """A picture as it is kept: itself and its thumbnails, all of one media type; `etag` is its digest."""

    image: bytes
    thumb64: bytes
    thumb256: bytes
    media_type: str
    etag: str

    @property
    def size(self) -> int:
        """Bytes of all three."""
        return len(self.image) + len(self.thumb64) + len(self.thumb256)


class Images(Threads):
    """Reads pictures, `pictures_at_once` together and `pictures_waiting` behind them, else Unavailable (503)."""

    def __init__(self, limits: Limits, reactor: Any) -> None:
        super().__init__(reactor, "images", "too many pictures at once", limits.pictures_at_once, limits.pictures_waiting)

    async def read(self, said: str | bytes) -> Encoded:
        """The picture in base64, or in the bytes of a file. Errors: Unfit."""
        return await self.off_thread(partial(encoded, said))


def encoded(said: str | bytes) -> Encoded:
    """The picture in base64, or in the bytes of a file, encoded anew; takes up to seconds and some hundred MB. Errors: Unfit."""
    data = _bytes(said) if isinstance(said, str) else said
    if len(data) > MOST_BYTES:
        raise Unfit(f"must be a picture of at most {MOST_BYTES} bytes", 2004)
    photo = data[:3] == b"\xff\xd8\xff"
    if photo and data.count(b"\xff\xda") > MOST_SCANS:
        raise Unfit("must be a picture of fewer scans", 2004)
    image = _decoded(data)
    media, whole = _written(image, JPEG if photo else PNG)
    small, large = (_as(media, _within(image, side)) for side in THUMBNAILS)
    return Encoded(whole, small, large, media, hashlib.sha256(whole).hexdigest()[:32])


def _bytes(said: str) -> bytes:
    text = re.sub(r"\s+", "", said.partition(",")[2] if said.startswith("data:") else said)
    try:
        return b64decode(text + "=" * (-len(text) % 4 if "=" not in text else 0), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("must be base64") from None


def _decoded(data: bytes) -> Image.Image:
    try:
        image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        image.draft(None, (SIDE, SIDE))
        image.load()
        made = _upright(_within(_plain(image), SIDE))
    except Image.DecompressionBombError:
        raise Unfit(f"must be a picture of at most {MOST_PIXELS} pixels", 2004) from None
    except MemoryError:
        raise
    except Exception:       # whatever a decoder makes of bytes that want to harm it
        raise Unfit("must be a whole JPEG, PNG, GIF or WebP picture") from None
    made.info = {}          # what stands there would be written
    return made


def _plain(image: Image.Image) -> Image.Image:
    """RGBA if something shows through, else RGB."""
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda v: v * (1 / 256)).convert("L")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        if clear.getchannel("A").getextrema() != (255, 255):
            return clear
    return image.convert("RGB")


def _within(image: Image.Image, side: int) -> Image.Image:
    made = image.copy()
    made.thumbnail((side, side))
    return made


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:       # the metadata is damaged, the picture is not
        return image


def _written(image: Image.Image, media: str) -> tuple[str, bytes]:
    whole = _as(media, image)
    return (JPEG, _as(JPEG, image)) if len(whole) > LARGEST_PNG and media == PNG else (media, whole)


def _as(media: str, image: Image.Image) -> bytes:
    out = BytesIO()
    if media == PNG:
        image.save(out, "PNG")
    else:
        _opaque(image).save(out, "JPEG", quality=88, optimize=True)
    return out.getvalue()


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    paper = Image.new("RGB", image.size, "white")
    paper.paste(image, mask=image.getchannel("A"))
    return paper
