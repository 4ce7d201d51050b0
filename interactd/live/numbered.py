"""Subprotocol interactd.1: every message has a number, so nothing is lost unseen (contract section 7)."""
from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson

from interactd import metrics
from interactd.changes import Notice
from interactd.errors import Invalid
from interactd.live.closing import Close
from interactd.live.frames import PING, frame
from interactd.live.replay import NOTIFICATION, UPDATE, Missed
from interactd.live.session import Desk, Entry, Line, Session, hint
from interactd.live.track import Track
from interactd.live.words import Ack, Dismiss, Resume, Shown, understood

HOLD = 1.0                  # seconds in which a client may say where it was, before it is told anything new
UNACKNOWLEDGED = 10_000     # notifications that a client may leave without an ack


class Numbered(Session):
    """A socket that says each thing once and in order: what follows what it has said; what does not is read from the rows first."""

    __slots__ = ("seen", "behind", "started", "resuming", "replayed", "_told", "_track")
    subprotocol = "interactd.1"
    numbered = True

    def __init__(self, line: Line, entry: Entry, desk: Desk) -> None:
        super().__init__(line, entry, desk)
        self.seen = entry.number            # the user's number up to which everything was told
        self.behind = True                  # whether something may be missing, so that nothing new may be told
        self.started = False                # whether it is known where to go on
        self.resuming = False               # whether the client has asked and was not answered yet
        self._told = 0                      # the highest number heard of
        self._track = Track(entry.number)
        self.replayed = 0                   # messages since it fell behind

    def opened(self) -> None:
        """Epoch and number, and the seed's hint; then it waits a moment for the client to say where it was."""
        self.due = self._desk.now() + HOLD
        self.announce({"opened": True, "epoch": self.entry.epoch})
        if self.entry.hint is not None:
            self.announce(hint(self.entry.hint))
        if self.entry.resume is not None:
            self._resume(self.entry.resume)

    def follow(self, notice: Notice, mine: bool, frames: dict[int, bytes]) -> None:
        """An event of the user was stored; `mine`: this device must hear of it. `frames` are those made already, by `prev`."""
        self._told = max(self._told, notice.seq)
        if self.behind or notice.seq <= self.seen:
            return
        if notice.prev > self.seen:
            self.catch_up()
            return
        self.seen, prev = notice.seq, self._track.last
        if mine:
            if prev not in frames:
                frames[prev] = _notification(notice.frame, prev)
            self._write(frames[prev], notice.seq, notice.interaction_id)

    def catch_up(self) -> None:
        """Something may be missing: nothing new is told until that was read."""
        self.behind = True
        if self.started:
            self._desk.replay.want(self)

    def replay(self, missed: Sequence[Missed], seen: int, more: bool) -> None:
        """What was missed up to number `seen`, in order; `more` may follow. Of messages of one number the last one carries it."""
        for place, message in enumerate(missed, 1):
            final = place == len(missed) or missed[place].number != message.number
            seq = message.number if final else self._track.last
            self._write(_encoded(message, seq, self._track.last), seq, message.interaction_id if message.kind == NOTIFICATION else 0)
            self.replayed += 1
            if final and self.line.stalled and place < len(missed):     # the client first takes what it has
                seen, more = message.number, True
                break
        self.seen, self.behind = seen, more or self._told > seen
        if not more:
            if self.resuming:
                self.announce({"resumed": self.replayed})
            self.resuming, self.replayed = False, 0

    def resync(self, head: int) -> None:
        """What was missed can not be told: the client must synchronize, and goes on behind `head`."""
        self._track.begin(head)
        self.seen, self.resuming, self.behind = head, False, self._told > head
        self.announce({"resync": True, "epoch": self.entry.epoch})

    def look(self, now: float) -> None:
        """The client has said nothing in time, or it is time for an application ping."""
        if not self.started:
            self._start()
            return
        self.due = now + self._desk.heartbeat_every
        self.announce({"ping": int(time.time() * 1000)})

    def flowing(self) -> None:
        """What the client has not been told yet is read on."""
        if self.behind:
            self.catch_up()

    def handed(self, delivery: Any) -> None:
        """A numbered message was handed to the network."""
        if delivery.interaction_id:
            self._desk.ledger.sent(delivery.interaction_id, self.entry)
        if self._track.handed(delivery) > UNACKNOWLEDGED:
            self.line.end(Close.SLOW, "nothing is acknowledged")

    def ping(self) -> None:
        """An empty one: only an ack acknowledges."""
        self.line.write(frame(b"", PING))

    def received(self, message: bytes) -> None:
        """Resume, ack, shown or dismiss; anything else ends the socket."""
        try:
            word = understood(message)
            if isinstance(word, Resume):
                self._resume(word)
            else:
                self._heard(word)
        except Invalid as error:
            self.line.end(Close.PROTOCOL, error.devmsg)

    def announce(self, said: dict[str, Any]) -> None:
        """What tells of no change has the number of the message before it, twice."""
        self.line.write(frame(orjson.dumps({**said, "seq": self._track.last, "prev": self._track.last})))

    def _start(self) -> None:
        self.started = True
        self.due = self._desk.now() + self._desk.heartbeat_every
        self._desk.replay.want(self)

    def _resume(self, word: Resume) -> None:
        self._track.begin(word.seq)
        self.seen = word.seq if word.epoch == self.entry.epoch else -1      # else it is no number of ours
        self.behind, self.resuming, self.replayed = True, True, 0
        self._start()

    def _heard(self, word: Ack | Shown | Dismiss) -> None:
        if not self.started:
            self._start()
        if isinstance(word, Ack):
            for interaction_id in self._track.acknowledged(word.seq):
                self._desk.ledger.acknowledged(interaction_id, self.entry)
        elif isinstance(word, Shown):
            self._desk.ledger.shown(word.interaction_id, self.entry)
        else:
            self._desk.dismiss(self.entry, word.interaction_id)

    def _write(self, data: bytes, seq: int, interaction_id: int) -> None:
        if interaction_id:
            metrics.NOTICES.inc()
        self.line.write(data, self._track.written(seq, interaction_id))


def _notification(text: str, prev: int) -> bytes:
    """As it was stored, `seq` included; `prev` differs from device to device."""
    return frame(f'{text[:-1]},"prev":{prev}}}'.encode())


def _encoded(message: Missed, seq: int, prev: int) -> bytes:
    if message.kind == NOTIFICATION:
        return _notification(message.text or "", prev)
    said = f'"update":{message.text}' if message.kind == UPDATE else f'"retract":{message.interaction_id}'
    return frame(f'{{{said},"seq":{seq},"prev":{prev}}}'.encode())
