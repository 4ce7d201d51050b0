"""Deals (contract section 4, deal)."""
from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from interactd.api.answer import Answer
from interactd.api.context import Context
from interactd.api.entity import Entity
from interactd.api.fields import Field, Wrong, boolean, choice, declare, ident, integer, named, plain, text
from interactd.db import Statement, Step
from interactd.errors import NotFound

#: ISO 4217 without the codes for tests and for no currency, and with those of money in use lately: a deal keeps its currency
CURRENCIES = frozenset("""
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BYR BZD CAD CDF CHE CHF CHW CLF CLP CNY
COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR
ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV
MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STD STN
SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN USS UYI UYU UYW UZS VED VEF VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD
XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMK ZMW ZWG ZWL""".split())
SOURCES = ("website", "referral", "word_of_mouth", "cold_call")
STAGES = ("incoming", "qualified", "quote", "closing", "won", "lost", "unqualified")
MOST = 2**53 - 1          # what every JSON reader holds exactly

_CONTACT = {"type": "object", "required": ["id"], "properties": {
    "id": {"type": "integer", "format": "int64"}, "name": {"type": "string", "readOnly": True}}}
_SHOWN = """CASE WHEN {t}.contact_id IS NOT NULL THEN json_build_object('id', {t}.contact_id,
  'name', (SELECT r.display_name FROM contacts r WHERE r.user_id = {t}.user_id AND r.id = {t}.contact_id)) END"""


def _currency(value: Any) -> str:
    if not isinstance(value, str) or value not in CURRENCIES:
        raise Wrong("must be a currency code of ISO 4217")
    return value


@frozen
class Deal:
    """A deal, and the contact it is made with."""

    id: int = ident()
    name: str = text("name", 255, required=True)
    value: int = integer("value", -MOST, MOST)
    currency: str = plain(_currency, {"type": "string", "pattern": "^[A-Z]{3}$"}, "currency")
    hot: bool = boolean("hot")
    related_to: dict[str, Any] = declare(Field(lambda v: {"contact_id": named(v)}, _CONTACT, _SHOWN, columns=("contact_id",),
                                               clears={"contact_id": None}))
    source: str = choice("source", *SOURCES)
    stage: str = choice("stage", *STAGES, default="incoming")


# Whoever has a task of the deal assigned sees it change.
TAKE = Statement("deals_take", """
SELECT take(ARRAY(SELECT :owner::bigint
  UNION SELECT t.assigned_to_id FROM tasks t WHERE t.user_id = :owner AND t.deal_id = ANY(:ids::bigint[])))""")
NOTES_GO = Statement("deals_notes_go", """
WITH gone AS (DELETE FROM notes n WHERE n.user_id = :owner AND n.deal_id = ANY(:ids::bigint[]) RETURNING n.id)
INSERT INTO tombstones (user_id, entity_type, entity_id, seq) SELECT :owner, 'note', gone.id, number_of(:owner) FROM gone""")


async def _remove(c: Context, ids: list[int]) -> Answer:
    return await ENTITY.remove(c, ids, Step(NOTES_GO, {"owner": c.owner, "ids": ids}))


async def _delete(c: Context, ident: int) -> Answer:
    """Delete a deal and its notes; its tasks stay without it."""
    return await _remove(c, [ident])


async def _delete_ids(c: Context) -> Answer:
    """Delete several deals, all or none."""
    return await _remove(c, c.query["ids"])


ENTITY = Entity(Deal, table="deals", kind="deal", activity="deal", path="/v2/deals", realm=200, synced=True, take=TAKE)
UNKNOWN = (NotFound("contact", detail=3003),)
PUT = {"name": "Apple Deal", "value": 100000, "currency": "USD", "hot": True, "relatedTo": {"id": 317}, "source": "word_of_mouth",
       "stage": "incoming"}
POST = {"name": "xailabs interact.io", "value": 155000, "currency": "EUR", "hot": True, "relatedTo": {"id": 38},
        "source": "word_of_mouth", "stage": "qualified"}
ONE = (*ENTITY.calls("get"), *ENTITY.calls("post", refuses=UNKNOWN, example=POST), *ENTITY.calls("delete", run=_delete))
CALLS = (*ENTITY.calls("put", refuses=UNKNOWN, example=PUT), *ENTITY.calls("list"), *ONE, *ENTITY.calls("delete_ids", run=_delete_ids),
         *(evolve(one, path="/v2/deal/:id", documented=False) for one in ONE))
