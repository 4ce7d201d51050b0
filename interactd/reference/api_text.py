"""docs/api.md: the API's description, to be read."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

HEAD = """# The API of interactd {version}

Written by `python -m interactd.reference`; not by hand. The same for programs: [openapi.json](openapi.json), served at
`/v2/openapi.json` and shown at `/docs`.

{about}

"""
WHO = {"authToken": "authToken", "triggerToken": "triggerToken", "queryToken": "`authToken` in the query", "bearer": ""}


def api_text(described: dict[str, Any]) -> str:
    """The document, from the description."""
    parts = [HEAD.format(version=described["info"]["version"], about=described["info"]["description"])]
    operations = [(verb.upper(), path, o) for path, verbs in described["paths"].items() for verb, o in verbs.items()]
    for tag in sorted({o["tags"][0] for _, _, o in operations}):
        parts.append(f"## {tag}\n\n")
        parts += [text for verb, path, o in operations if o["tags"][0] == tag for text in _operation(verb, path, o)]
    parts.append("## Objects\n\n`…New` is what a creation takes, `…Change` what an update takes, `…Item` an entry of a list in a body.\n\n")
    parts += [text for name, schema in described["components"]["schemas"].items() for text in _object(name, schema)]
    return "".join(parts)


def _operation(verb: str, path: str, o: dict[str, Any]) -> Iterator[str]:
    yield f"### {verb} {path}\n\n{o['summary']}.\n\n"
    if "description" in o:
        yield o["description"] + "\n\n"
    yield f"Takes: {_who(o['security'])}{', role `' + o['x-role'] + '`' if 'x-role' in o else ''}.\n\n"
    if o["parameters"]:
        yield "| parameter | in | type | |\n|---|---|---|---|\n"
        yield from (_row(f"`{p['name']}`" + (" !" if p.get("required") else ""), p["in"], _type(p["schema"]), _notes(p)) for p in o["parameters"])
        yield "\n"
    for media, content in o.get("requestBody", {}).get("content", {}).items():
        yield f"Body: {_type(content['schema'])}\n\n"
        yield from (f"```json\n{json.dumps(e['value'], indent=1, ensure_ascii=False)}\n```\n\n" for e in content.get("examples", {}).values())
    for status, response in o["responses"].items():
        if status < "400":
            yield f"Answer {status}: " + "; ".join(f"{m}: {_type(c['schema'])}" for m, c in response.get("content", {}).items()) + "\n\n"
    yield "| HTTP | errors |\n|---|---|\n"
    yield from (_row(status, r["description"].replace("; ", "<br>")) for status, r in o["responses"].items() if status >= "400")
    yield "\n"


def _who(security: list[dict[str, Any]]) -> str:
    names = [WHO[name] for one in security for name in one if WHO[name]]
    return " or ".join(names) + (" or nothing" if {} in security else "") if names else "no credentials"


def _notes(p: dict[str, Any]) -> str:
    example = f"example `{p['example']}`" if "example" in p else ""
    return " ".join(part for part in (p.get("description", ""), example) if part)


def _object(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n\n"
    if schema.get("description"):
        yield schema["description"] + "\n\n"
    if "properties" not in schema:
        yield _type(schema) + "\n\n"
        return
    ignored = [key for key, p in schema["properties"].items() if p.get("description", "").startswith("Set by the server")]
    yield "| attribute | type | |\n|---|---|---|\n"
    for key, p in schema["properties"].items():
        if key not in ignored:
            yield _row(f"`{key}`" + (" !" if key in schema.get("required", ()) else ""), _type(p), p.get("description", ""))
    yield "\n"
    if ignored:
        yield "Ignored when sent: " + ", ".join(f"`{key}`" for key in ignored) + ".\n\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def _type(schema: dict[str, Any]) -> str:
    """A schema in words: its type, and its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for word, joint in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if word in schema:
            return joint.join(_type(inner) for inner in schema[word])
    if "const" in schema:
        return f"`{schema['const']}`"
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_kind(kind, schema) for kind in kinds) + _limits(schema)


def _kind(kind: str, schema: dict[str, Any]) -> str:
    if kind == "array":
        return "list of " + _type(schema.get("items", {}))
    if kind == "object" and "properties" in schema:
        inside = ", ".join(f"`{key}`{'!' if key in schema.get('required', ()) else ''}: {_type(p)}" for key, p in schema["properties"].items())
        return "{" + inside + "}"
    return kind


def _limits(schema: dict[str, Any]) -> str:
    said = ["one of " + ", ".join(f"`{v}`" for v in schema["enum"] if v is not None)] if "enum" in schema else []
    for low, high, what in (("minLength", "maxLength", " characters"), ("minItems", "maxItems", " entries"), ("minimum", "maximum", "")):
        if high in schema:
            said.append(f"{schema.get(low, 0)}–{schema[high]}{what}")
    said += [f"`{schema['pattern']}`"] if "pattern" in schema else []
    said += [f"default `{json.dumps(schema['default'])}`"] if "default" in schema else []
    return ", " + ", ".join(said) if said else ""
