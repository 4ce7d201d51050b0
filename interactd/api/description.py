"""The API describes itself: `/v2/openapi.json`, and a page that shows it (contract section 13)."""
from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from interactd.api.answer import Answer, plain
from interactd.api.call import PUBLIC, Call, call
from interactd.api.context import Context
from interactd.api.openapi import document

# The page takes all it needs from this daemon; the viewer sets styles from its script.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>interactd API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="%(root)s/docs/swagger-ui.css"><link rel="icon" href="data:,"></head>
<body><div id="api"></div>
<script src="%(root)s/docs/swagger-ui-bundle.js"></script><script src="%(root)s/docs/start.js"></script></body>
</html>
"""
START = """SwaggerUIBundle({url: "%(root)s/v2/openapi.json", dom_id: "#api", deepLinking: true, docExpansion: "none",
  filter: true, tryItOutEnabled: true, validatorUrl: null});
"""
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


@call("GET", "/v2/openapi.json", may=PUBLIC, realm=0, name="description.openapi", answer={"type": "object", "required": ["openapi", "paths"]})
async def openapi(c: Context) -> Answer:
    """This description (OpenAPI 3.1)."""
    return plain(_described(c.app.calls, _root(c)))


@lru_cache(maxsize=4)
def _described(calls: tuple[Call, ...], root: str) -> bytes:
    return orjson.dumps({**document(calls), **({"servers": [{"url": root}]} if root else {})})


@call("GET", "/docs", may=PUBLIC, realm=0, name="description.page", media=("text/html",), answer={"type": "string"})
async def page(c: Context) -> Answer:
    """A page on which this description can be read and tried."""
    return _text(".html", PAGE % {"root": _root(c)}, 0)


@call("GET", "/docs/start.js", may=PUBLIC, realm=0, name="description.start", media=("text/javascript",), documented=False)
async def start(c: Context) -> Answer:
    """What the page runs."""
    return _text(".js", START % {"root": _root(c)}, 0)


@call("GET", "/docs/swagger-ui.css", may=PUBLIC, realm=0, name="description.style", media=("text/css",), documented=False)
async def style(c: Context) -> Answer:
    """The viewer's style."""
    return _text(".css", _viewer("swagger-ui.css"), 86400)


@call("GET", "/docs/swagger-ui-bundle.js", may=PUBLIC, realm=0, name="description.viewer", media=("text/javascript",), documented=False)
async def viewer(c: Context) -> Answer:
    """The viewer."""
    return _text(".js", _viewer("swagger-ui-bundle.js"), 86400)


@lru_cache(maxsize=4)
def _viewer(name: str) -> str:
    # Found, not imported: the package's own code wants Flask, its files do not.
    found = find_spec("flask_swagger_ui")
    assert found is not None and found.origin is not None, "flask-swagger-ui is installed with interactd"
    return (Path(found.origin).parent / "dist" / name).read_text(encoding="utf-8")


def _root(c: Context) -> str:
    return urlsplit(c.config.http.public_url).path.rstrip("/")


def _text(kind: str, text: str, seconds: int) -> Answer:
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
               "Cache-Control": f"public, max-age={seconds}" if seconds else "no-cache"}
    return Answer(200, text.encode(), headers, MEDIA[kind] + "; charset=utf-8")


CALLS = (openapi, page, start, style, viewer)
