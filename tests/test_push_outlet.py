"""Socket first, then Apple: to the millisecond, with nodes that are killed, frozen and wake up again."""
from __future__ import annotations

from typing import Any

import orjson
from twisted.trial.unittest import TestCase

from tests.postgres import fresh_database
from tests.push_case import World


class OutletCase(TestCase):
    """One world, with one node and one phone."""

    def setUp(self) -> None:
        self.world = World(self, fresh_database(self))
        self.node = self.world.node("one")
        self.phone = self.world.device()

    def state(self, ident: int, device: int | None = None) -> dict[str, Any]:
        """What the row says has happened."""
        row = self.world.row((ident, device or self.phone))
        return {name: row[name] is not None for name in ("acked_at", "accepted_at", "push_failed_at", "due_at", "lease_node")}


def done(**changes: bool) -> dict[str, bool]:
    """Nothing is open any more; what has happened."""
    return {"acked_at": False, "accepted_at": False, "push_failed_at": False, "due_at": False, "lease_node": False, **changes}


class Fallback(OutletCase):
    """One node."""

    def test_without_a_socket(self) -> None:
        """It goes at once, once, as the contract says."""
        ident = self.world.event(self.node, self.phone)
        self.world.advance(10)
        ((at, _, asked),) = self.world.asked
        self.assertEqual((at, self.state(ident)), (0.0, done(accepted_at=True)))
        self.assertEqual(orjson.loads(asked.body), {"aps": {"alert": "Incoming call from +4930123", "sound": "default", "thread-id": "+4930123"},
                                                    "data": "+4930123", "type": "call-incoming", "interactionId": 0})
        self.assertEqual((asked.headers["apns-expiration"], asked.headers["apns-id"]), ("1700000060", self.world.row((ident, self.phone))["push_id"]))

    def test_acknowledged_around_the_claim(self) -> None:
        """At 1.999 s and at 2.0 s before the claim: no push. At 2.0 s behind it and at 2.001 s: both, and the ledger says so."""
        self.node.listening.add(self.phone)
        for at, before, pushes in ((1.999, True, 0), (2.0, True, 0), (2.0, False, 1), (2.001, False, 1)):
            ident = self.world.event(self.node, self.phone)
            start = self.world.now
            self.world.advance(1.75)
            self.assertEqual(self.world.pushes(ident), [])
            if not before:
                self.world.advance(0.25)
            self.world.now = start + at         # the socket is read before the timers of this moment are looked at
            self.node.acknowledge((ident, self.phone))
            self.world.advance(20)
            self.assertEqual([round(when - start, 4) for when, _ in self.world.pushes(ident)], [2.0] * pushes)
            self.assertEqual(self.state(ident), done(acked_at=True, accepted_at=bool(pushes)))

    def test_acknowledged_on_its_way(self) -> None:
        """An acknowledgement while Apple can not be reached: the push is not sent any more."""
        self.node.listening.add(self.phone)
        self.node.apple.refusing = True
        ident = self.world.event(self.node, self.phone)
        self.world.advance(3)
        self.assertTrue(self.state(ident)["lease_node"])
        self.node.acknowledge((ident, self.phone))
        self.node.apple.refusing = False
        self.world.advance(20)
        self.assertEqual((self.world.pushes(ident), self.state(ident)), ([], done(acked_at=True)))

    def test_expired(self) -> None:
        """A call's push is worth the ring time, another's longer; then it is called expired, with the cause."""
        self.node.apple.refusing = True
        call = self.world.event(self.node, self.phone)
        mail = self.world.event(self.node, self.phone, kind="email-incoming")
        waiting = self.world.event(None, self.phone)
        self.world.advance(66)
        self.assertEqual((self.state(call), self.state(waiting)), (done(push_failed_at=True), done(push_failed_at=True)))
        self.assertIn("expired: Connection was refused", self.world.row((call, self.phone))["push_failed"])
        self.assertTrue(self.state(mail)["due_at"])
        self.node.apple.refusing = False
        self.world.advance(90)
        self.assertEqual((self.state(mail), self.world.pushes(call)), (done(accepted_at=True), []))

    def test_late_and_lost_hints(self) -> None:
        """Nothing is due for a late event; what nobody heard of is found by the sweep, 3 s after the event at the earliest."""
        late = self.world.event(None, self.phone, due=False)
        lost = self.world.event(None, self.phone)
        self.world.advance(10)
        self.assertEqual(self.world.pushes(late), [])
        self.assertEqual([at for at, _ in self.world.pushes(lost)], [5.0])

    def test_retracted(self) -> None:
        """A call that was answered or dismissed elsewhere rings nowhere any more."""
        self.node.listening.add(self.phone)
        ident = self.world.event(self.node, self.phone)
        self.world.database.run("INSERT INTO retracts (user_id, interaction_id, seq) VALUES (%s, %s, 9)", self.world.user, ident)
        self.world.advance(20)
        self.assertEqual((self.world.pushes(ident), self.state(ident), self.world.row((ident, self.phone))["push_failed"]),
                         ([], done(push_failed_at=True), "retracted"))

    def test_devices_that_changed(self) -> None:
        """Nothing is pushed to a device that is inactive, has no token any more, or whose user is inactive."""
        changes = ("UPDATE devices SET active = false WHERE id = %s", "UPDATE devices SET apns_token = NULL WHERE id = %s",
                   "UPDATE users u SET active = false FROM devices d WHERE u.id = d.user_id AND d.id = %s")
        for change in changes:
            phone = self.world.device()
            self.node.listening.add(phone)
            ident = self.world.event(self.node, phone)
            self.world.database.run(change, phone)
            self.world.advance(70)
            self.assertEqual((self.world.pushes(ident), self.state(ident, phone)), ([], done(push_failed_at=True)))

    def test_dead_token(self) -> None:
        """A dead token goes, with the reason; one registered after Apple's time stays."""
        self.world.event(self.node, self.phone)
        self.world.judge = lambda asked: (410, "Unregistered", 1_600_000_000_000)
        old, new = self.world.device(registered_at=1_599_999_999_999), self.world.device(registered_at=1_600_000_000_001)
        gone = self.world.event(self.node, old, new)
        self.world.advance(1)
        rows = self.world.database.run("SELECT apns_token IS NULL, active, push_error, push_error_at IS NOT NULL FROM devices "
                                       "WHERE id IN (%s, %s) ORDER BY id", old, new)
        self.assertEqual(rows, [(True, True, "Unregistered", True), (False, True, "Unregistered", True)])
        self.assertEqual(self.world.row((gone, old))["push_failed"], "dead: Unregistered")

    def test_later(self) -> None:
        """What Apple wants later stands in its row, and is sent then."""
        self.world.judge = lambda asked: (429, "TooManyRequests")
        ident = self.world.event(self.node, self.phone, kind="sms-incoming")
        self.world.advance(1)
        self.assertEqual((self.state(ident), self.world.row((ident, self.phone))["push_failed"]),
                         ({**done(), "due_at": True}, "later: TooManyRequests"))
        self.world.judge = lambda asked: (200,)
        self.world.advance(68)
        self.assertEqual((len(self.world.pushes(ident)), self.state(ident)), (2, done(accepted_at=True)))

    def test_voip(self) -> None:
        """A VoIP device's calls go by the VoIP topic."""
        phone = self.world.device(voip=True)
        self.world.event(self.node, phone)
        headers = self.world.asked[0][2].headers
        self.assertEqual((headers["apns-topic"], headers["apns-push-type"]), ("org.example.interact.voip", "voip"))

    def test_database_away(self) -> None:
        """Without the database nothing is sent; with it again the sweep does it, and outcomes that waited are written."""
        self.world.database.away = True
        ident = self.world.event(self.node, self.phone)
        self.world.advance(7)
        self.assertEqual(self.world.pushes(ident), [])
        self.world.database.away = False
        self.world.judge = lambda asked: (setattr(self.world.database, "away", True), (200,))[1]
        self.world.advance(4)
        self.assertEqual((len(self.world.pushes(ident)), self.state(ident)["accepted_at"]), (1, False))
        self.world.database.away = False
        self.world.advance(2)
        self.assertEqual((len(self.world.pushes(ident)), self.state(ident)), (1, done(accepted_at=True)))

    def test_database_away_when_asked_again(self) -> None:
        """What nobody can say is still wanted is not sent, and stays due."""
        self.node.apple.refusing = True
        ident = self.world.event(self.node, self.phone)
        self.world.advance(2)
        self.node.apple.refusing = False
        self.world.database.away = True
        self.world.advance(6)
        self.assertEqual(self.world.pushes(ident), [])
        self.world.database.away = False
        self.world.advance(12)
        self.assertEqual((len(self.world.pushes(ident)), self.state(ident)), (1, done(accepted_at=True)))

    def test_many(self) -> None:
        """A thousand events for one phone: each is pushed once, however the queue is filled."""
        idents = [self.world.event(None, self.phone) for _ in range(1000)]
        self.world.advance(30)
        self.assertEqual(len(self.world.asked), 1000)
        self.assertEqual({asked.headers["apns-collapse-id"] for _, _, asked in self.world.asked}, set(map(str, idents)))


class Nodes(OutletCase):
    """Several, some of which come to grief."""

    def test_killed_before_the_claim(self) -> None:
        """The node is killed at 1 s: another one pushes, once."""
        self.node.listening.add(self.phone)
        ident = self.world.event(self.node, self.phone)
        self.world.advance(1)
        self.world.crash(self.node)
        other = self.world.node("other")
        self.world.advance(20)
        self.assertEqual(([name for _, name in self.world.pushes(ident)], self.state(ident)), (["other"], done(accepted_at=True)))
        self.assertLessEqual(self.world.pushes(ident)[0][0], 8)
        self.assertEqual(len(other.apple.doubles), 1)

    def test_killed_behind_the_claim(self) -> None:
        """Killed with the push on its way: nobody knows, so after the lease another node sends it, with the same id."""
        self.world.judge = lambda asked: ()
        ident = self.world.event(self.node, self.phone, kind="sms-incoming")
        self.world.crash(self.node)
        self.world.judge = lambda asked: (200,)
        self.world.node("other")
        self.world.advance(29)
        self.assertEqual(len(self.world.pushes(ident)), 1)
        self.world.advance(10)
        self.assertEqual(([name for _, name in self.world.pushes(ident)], self.state(ident)), (["one", "other"], done(accepted_at=True)))
        self.assertEqual(len({asked.headers["apns-id"] for _, _, asked in self.world.asked}), 1)

    def test_frozen_with_a_claim(self) -> None:
        """A node that was frozen when it had claimed and not sent wakes up behind another's push, and sends nothing."""
        self.node.apple.refusing = True
        ident = self.world.event(self.node, self.phone, kind="sms-incoming")
        self.node.frozen = True
        self.world.node("other")
        self.world.advance(40)
        self.assertEqual([name for _, name in self.world.pushes(ident)], ["other"])
        self.node.apple.refusing = self.node.frozen = False
        self.world.advance(20)
        self.assertEqual([name for _, name in self.world.pushes(ident)], ["other"])
        self.assertEqual(self.state(ident), done(accepted_at=True))

    def test_socket_elsewhere(self) -> None:
        """An acknowledgement of a socket at another node is awaited, and what it needs to be written down."""
        self.node.others = True
        other = self.world.node("other")
        self.world.open(self.phone, other)
        ident, silent = self.world.event(self.node, self.phone), self.world.event(self.node, self.phone)
        self.world.advance(1.95)
        other.acknowledge((ident, self.phone))
        self.world.advance(0.3)
        self.world.advance(10)
        self.assertEqual((self.world.pushes(ident), self.world.pushes(silent)), ([], [(2.25, "one")]))

    def test_no_socket_anywhere(self) -> None:
        """Whoever has no socket at any node is pushed at once, though other nodes live."""
        self.node.others = True
        self.world.node("other")
        ident = self.world.event(self.node, self.phone)
        self.world.advance(20)
        self.assertEqual((self.world.pushes(ident), self.state(ident)), ([(0, "one")], done(accepted_at=True)))

    def test_socket_of_a_dead_node(self) -> None:
        """A node that is killed takes its sockets with it, as soon as it counts as dead."""
        self.node.others = True
        other = self.world.node("other")
        self.world.open(self.phone, other)
        self.world.crash(other)
        soon = self.world.event(self.node, self.phone)
        self.world.advance(6.25)
        then = self.world.event(self.node, self.phone)
        self.world.advance(20)
        self.assertEqual((self.world.pushes(soon), self.world.pushes(then)), ([(2.25, "one")], [(6.25, "one")]))

    def test_socket_just_closed_here(self) -> None:
        """What closes here is known here before it is written down."""
        self.node.others = True
        self.world.open(self.phone, self.node)
        self.node.listening.clear()
        ident = self.world.event(self.node, self.phone)
        self.assertEqual(self.world.pushes(ident), [(0, "one")])

    def test_two_sweep_at_once(self) -> None:
        """A row is one node's, whoever looks."""
        self.world.node("other")
        idents = [self.world.event(None, self.phone) for _ in range(50)]
        self.world.advance(30)
        self.assertEqual(sorted(len(self.world.pushes(ident)) for ident in idents), [1] * 50)

    def test_stopped(self) -> None:
        """A stop gives back what was not sent; the next process sends it, and not what its time has passed for."""
        self.node.apple.refusing = True
        call = self.world.event(self.node, self.phone)
        mail = self.world.event(self.node, self.phone, kind="email-incoming")
        self.world.work(self.node.outlet.pool.stop())
        self.world.work(self.node.outlet.stop())
        self.world.crash(self.node)
        self.assertEqual((self.state(call)["lease_node"], self.state(mail)["due_at"]), (False, True))
        self.world.advance(61)
        self.world.node("next")
        self.world.advance(10)
        self.assertEqual((self.world.pushes(call), [name for _, name in self.world.pushes(mail)]), ([], ["next"]))
        self.assertEqual((self.state(call), self.state(mail)), (done(push_failed_at=True), done(accepted_at=True)))
