"""What a call is given: who asks, what was sent, the database, and where to say what changed."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, field, frozen

from interactd.auth.credentials import Credentials
from interactd.auth.passwords import Passwords
from interactd.auth.resets import Resets
from interactd.auth.sessions import Sessions
from interactd.auth.tokens import digest
from interactd.auth.trigger import TriggerDevice, trigger
from interactd.auth.triggerkeys import TriggerKeys
from interactd.auth.user import User
from interactd.changes import Changed, Hub
from interactd.config import Config
from interactd.db import Database, Queries, Statement, Step, Transaction
from interactd.errors import NotFound
from interactd.images import Images

if TYPE_CHECKING:
    from interactd.api.call import Call
    from interactd.events.intake import Intake
    from interactd.imports.service import Imports
    from interactd.live.service import Live
    from interactd.nodes.bus import Bus
    from interactd.push.service import Push

T = TypeVar("T")
RANK = {"user": 0, "customer_admin": 1, "interact_admin": 2}
TAKE = Statement("take", "SELECT take(:owners::bigint[])")


@frozen
class App:
    """The services that calls use, by name."""

    config: Config
    database: Database
    hub: Hub
    sessions: Sessions
    passwords: Passwords
    images: Images
    credentials: Credentials
    trigger_keys: TriggerKeys
    intake: Intake
    clock: Any
    live: Live
    imports: Imports
    resets: Resets
    bus: Bus
    calls: tuple[Call, ...] = ()
    push: Push | None = None


@frozen
class Asked:
    """The request, as far as calls may see it."""

    id: str
    address: str
    headers: Mapping[str, str]
    raw: Any = field(default=None, repr=False)        # the twisted.web request, for the socket's handshake


@define
class Context:
    """One request on its way through one call."""

    app: App
    call: Call
    asked: Asked
    ids: tuple[int, ...]
    query: Mapping[str, Any]
    body: Any
    db: Queries
    who: User | None = None
    trigger: TriggerDevice | None = None
    on_behalf: int | None = None                      # whose data, where a switchboard acts on a colleague's
    token: str = field(default="", repr=False)
    announced: list[object] = field(factory=list)

    @property
    def user(self) -> User:
        """Who asks."""
        assert self.who is not None, "a public call has no user"
        return self.who

    @property
    def owner(self) -> int:
        """Whose data: the user's own, or the trigger device's owner's."""
        if self.on_behalf is not None:
            return self.on_behalf
        return self.user.id if self.trigger is None else self.trigger.user_id

    @property
    def rank(self) -> int:
        """How much the user may: 0 user, 1 customer_admin of a company, 2 interact_admin."""
        roles = self.user.roles
        if "interact_admin" in roles:
            return 2
        return 1 if "customer_admin" in roles and self.user.company_id is not None else 0

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.app.config

    async def rows(self, statement: Statement, /, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        return await self.db.query(statement, **values)

    async def maybe(self, statement: Statement, /, **values: Any) -> tuple[Any, ...] | None:
        """The row of a statement, or None."""
        rows = await self.db.query(statement, **values)
        return rows[0] if rows else None

    async def one(self, statement: Statement, /, missing: str | None = None, **values: Any) -> tuple[Any, ...]:
        """The row of a statement; 404 when there is none."""
        row = await self.maybe(statement, **values)
        if row is None:
            raise NotFound(missing or self.call.kind)
        return row

    async def take(self, *owners: int) -> None:
        """The first act of whatever changes data: locks the owners' counters, ascending, and raises each by one."""
        await self.db.query(TAKE, owners=sorted(set(owners)))

    async def script(self, *steps: Step) -> list[tuple[Any, ...]]:
        """The rows of the last of several statements sent in one round trip."""
        return await self.db.script(*steps)

    async def transaction(self, work: Callable[[], Awaitable[T]], read_only: bool = False) -> T:
        """What `work` returns, all of whose statements are one transaction; it may run twice, and announces what the last run said."""
        async def begun(tx: Transaction) -> T:
            self.db, self.announced = tx, []
            return await work()
        return await self.app.database.transaction(self.call.name, begun, read_only=read_only)

    async def known_trigger(self) -> None:
        """Sets the trigger device whose token was sent; 401 for none."""
        self.trigger = await trigger(self.app.database, digest(self.token))

    def announce(self, event: object) -> None:
        """`event` is published when the transaction is committed, and not at all otherwise."""
        self.announced.append(event)

    def changed(self, owner: int, seq: int, action: str, entity_type: str, entity_id: int) -> None:
        """Announces that `owner`'s data is at number `seq`."""
        self.announce(Changed(owner, seq, action, entity_type, entity_id))


def taking(*owners: int) -> Step:
    """The first step of a script that changes the owners' data."""
    return Step(TAKE, {"owners": sorted(set(owners))})
