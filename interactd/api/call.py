"""A call is a value: verb, path, who may, what it takes, what it does. Everything that every call must satisfy reads these."""
from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from interactd.api.answer import Answer
from interactd.api.fields import Wrong, one_of, whole
from interactd.errors import ApiError

if TYPE_CHECKING:
    from interactd.api.context import Context

Run = Callable[..., Awaitable[Answer]]

ORDINARY = 1 << 20          # bytes of a body, where a call takes no more; the configuration says how many that are
#: action of a call by its verb, where none is named (contract section 3)
ACTIONS = {"GET": 10, "POST": 11, "PUT": 12, "DELETE": 14}


class Token(Enum):
    """Which credential a call takes."""

    NONE = "none"
    AUTH = "authToken"
    TRIGGER = "triggerToken"
    EITHER = "authToken or triggerToken"


class Transact(Enum):
    """What stands around a call's statements."""

    NONE = "none"          # one statement or script: a transaction of its own
    READ = "read"          # REPEATABLE READ READ ONLY
    WRITE = "write"


@frozen
class May:
    """Who may make a call: the credential, the least role, whether a `trigger app` token will do, whether a password is due first."""

    token: Token
    role: str = "user"
    trigger_app: bool = False
    password_due: bool = False


PUBLIC = May(Token.NONE)
USER = May(Token.AUTH)
TRIGGER_APP = May(Token.AUTH, trigger_app=True)
PASSWORD_DUE = May(Token.AUTH, password_due=True)
CUSTOMER_ADMIN = May(Token.AUTH, "customer_admin")
INTERACT_ADMIN = May(Token.AUTH, "interact_admin")
TRIGGER = May(Token.TRIGGER)
USER_OR_TRIGGER = May(Token.EITHER)


@frozen
class Param:
    """A query parameter: how its text is read, whether it must be there, what stands when it is not."""

    name: str
    read: Callable[[str], Any]
    schema: dict[str, Any]
    required: bool = False
    default: Any = None
    example: Any = None
    aliases: tuple[str, ...] = ()                # other names it is known by, served but not described
    about: str = ""                              # what it says, for OpenAPI


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number in a query."""
    def read(said: str) -> int:
        if not re.fullmatch(r"-?\d{1,19}", said, re.ASCII):
            raise Wrong("must be a whole number")
        return whole(int(said), low, high)
    return read


def id_list(said: str) -> list[int]:
    """`1,3,45` (1 to 1000 ids)."""
    if not re.fullmatch(r"[1-9]\d{0,17}(,[1-9]\d{0,17})*", said, re.ASCII):
        raise Wrong("must be ids, joined by commas")
    ids = list(dict.fromkeys(int(part) for part in said.split(",")))
    if len(ids) > 1000:
        raise Wrong("must hold at most 1000 ids", 2004)
    return ids


def word(name: str, *values: str, default: str | None = None, required: bool = False) -> Param:
    """A query parameter that is one of some words."""
    return Param(name, one_of(values), {"type": "string", "enum": list(values)}, required, default)


def flag(name: str) -> Param:
    """A query parameter that is 0, 1, false or true; default no."""
    truths = {"0": False, "false": False, "1": True, "true": True}

    def read(said: str) -> bool:
        if said not in truths:
            raise Wrong("must be 0, 1, true or false")
        return truths[said]
    return Param(name, read, {"type": "string", "enum": list(truths)}, default=False)


ID_LIST = {"type": "string", "pattern": r"^[1-9]\d{0,17}(,[1-9]\d{0,17})*$"}
IDS = Param("ids", id_list, ID_LIST, required=True, example="1,3,45", about="Which ones; if one is not there, nothing is done.")
OFFSET = Param("offset", number(0, 2**31 - 1), {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, example=5,
               about="How many to leave out at the beginning; with it or `limit` the answer is a page.")
LIMIT = Param("limit", number(1, 2**31 - 1), {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, example=25, about="How many at most.")
PAGING = (OFFSET, LIMIT)


@frozen(eq=False)
class Call:
    """One call of the API."""

    verb: str
    path: str                                    # `/v2/notes/:id`
    name: str                                    # of metrics, logs and OpenAPI: `notes.put`
    may: May
    action: int
    realm: int
    run: Run
    kind: str = "entity"                         # what the id in the path names (errors.KINDS)
    cmd: str | None = None
    body: type | None = None                     # row class; None: no body is read
    create: bool = False                         # the body creates (required fields must be there)
    read: Callable[[Any], Any] | None = None     # reads a body that no row class describes
    body_schema: dict[str, Any] | None = None    # its schema
    query: tuple[Param, ...] = ()
    prepare: Callable[[Context], Awaitable[None]] | None = None   # slow work before the transaction opens (hashing, images)
    transact: Transact = Transact.NONE
    limit: int = ORDINARY                        # bytes of the body; beyond it is a picture's
    answer: Any = None                           # row class or schema of the answer, for OpenAPI and the tests
    wrapped: str = "plain"                       # how the answer holds it: plain, entity, list, data, done
    success: int = 200                           # HTTP status
    summary: str = ""
    documented: bool = True                      # False: a spelling of another call, served but not described
    late_who: bool = False                       # the call authenticates by itself, inside its statement
    upgrade: bool = False                        # a WebSocket handshake
    subprotocol: str = ""                        # the WebSocket subprotocol whose first message may bring the authToken
    media: tuple[str, ...] = ()                  # what it answers, where that is not JSON: pages, pictures
    cached: bool = False                         # its answer has an ETag; 304 to who knows it
    example: Any = None                          # a body, for OpenAPI
    refuses: tuple[ApiError, ...] = ()           # errors beyond those that follow from this declaration, for OpenAPI
    partly: Any = None                           # schema of an answer of which all parts failed, for OpenAPI
    also: Mapping[int, Any] = {}                 # other successes: HTTP status -> schema of the answer, for OpenAPI
    headers: tuple[Mapping[str, Any], ...] = ()  # request headers beside the credentials, as OpenAPI writes them
    ids: int = field(init=False)

    @ids.default
    def _ids(self) -> int:
        return self.path.count(":")

    @property
    def administers(self) -> bool:
        """Whether the call is administration's: what its caller may is read anew at each request."""
        return self.path.startswith("/v2/admin/") or self.may.role != "user"

    async def __call__(self, c: Context) -> Answer:
        """The call's answer."""
        return await self.run(c, *c.ids)


def call(verb: str, path: str, *, may: May, realm: int, **options: Any) -> Callable[[Run], Call]:
    """Declares the decorated function as a call; action and name follow the verb and path unless given."""
    def declared(run: Run) -> Call:
        options.setdefault("action", ACTIONS[verb])
        options.setdefault("summary", (run.__doc__ or "").partition("\n")[0])
        options.setdefault("name", run.__module__.rpartition(".")[2] + "." + run.__name__)
        return Call(verb, path, may=may, realm=realm, run=run, **options)
    return declared
