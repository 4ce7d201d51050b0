"""Queries: the text behind `?` to values, with every fault named in one answer (contract section 1). Pure."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from interactd.api.body import Faults
from interactd.api.call import Param
from interactd.api.fields import Wrong
from interactd.errors import Fault, Invalid

_PLUS = ("value", "deviceId", "token")       # a blank there stands for the `+` that was not escaped


def parse(raw: bytes) -> dict[str, str]:
    """The parameters of a query string; one named twice is refused."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100) if raw else []
    except ValueError:
        raise Invalid("the query is not UTF-8, or holds too much", detail=2003) from None
    sent: dict[str, str] = {}
    for name, said in pairs:
        if name in sent:
            raise Invalid(f"{name} is given twice", details=(Fault(name, "is given twice"),))
        sent[name] = said.replace(" ", "+") if name in _PLUS else said
    return sent


def read(params: Iterable[Param], sent: dict[str, str]) -> dict[str, Any]:
    """The values of the declared parameters. Errors: 400 with every fault."""
    faults, values = Faults(), {}
    known = {p.name: p for p in params}
    sent = _unaliased(known, sent)
    faults.unknown += [Fault(name, "is unknown") for name in sent if name not in known]
    for name, param in known.items():
        said = sent.get(name)
        values[name] = param.default
        if said is None and param.required:
            faults.missing.append(Fault(name, "is missing"))
        elif said is not None:
            try:
                values[name] = _value(param, said)
            except Wrong as wrong:
                faults.wrong(name, wrong)
    faults.check()
    return values


def _unaliased(known: dict[str, Param], sent: dict[str, str]) -> dict[str, str]:
    names = {alias: name for name, param in known.items() for alias in param.aliases if name not in sent}
    return {names.get(name, name): said for name, said in sent.items()}


def _value(param: Param, said: str) -> Any:
    if "\0" in said:
        raise Wrong("must not hold NUL")
    if said == "" and param.required:
        raise Wrong("must not be empty", 2002)
    return param.read(said)
