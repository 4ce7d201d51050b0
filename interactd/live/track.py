"""Which numbers went out on a socket, and which of them came back as acks."""
from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import NamedTuple

from interactd.errors import Invalid


class Sent(NamedTuple):
    """A numbered message on its way."""

    round: int              # how often the socket had resumed
    seq: int
    interaction_id: int     # of a notification, else 0


class Track:
    """From the number at which a socket begins, or resumes: what was written, handed to the network, and acknowledged."""

    __slots__ = ("last", "_round", "_handed", "_acked", "_open")

    def __init__(self, number: int) -> None:
        self._round = 0
        self._open: list[Sent] = []             # notifications without an ack
        self.begin(number)

    def begin(self, number: int) -> None:
        """It goes on behind `number`; what is still on its way does not count any more."""
        self.last = self._handed = self._acked = number
        self._round += 1
        self._open.clear()

    def written(self, seq: int, interaction_id: int) -> Sent:
        """The next message."""
        self.last = seq
        return Sent(self._round, seq, interaction_id)

    def handed(self, sent: Sent) -> int:
        """A message has left for the network; the answer is how many notifications are without an ack."""
        if sent.round == self._round:
            self._handed = sent.seq
            if sent.interaction_id:
                self._open.append(sent)
        return len(self._open)

    def acknowledged(self, seq: int) -> list[int]:
        """The interactions whose notifications have arrived with this ack; Invalid for one that goes back or too far."""
        if seq < self._acked:
            raise Invalid("an ack goes back")
        if seq > self._handed:
            raise Invalid("an ack of what was not sent")
        self._acked = seq
        arrived = bisect_right(self._open, seq, key=attrgetter("seq"))
        taken, self._open = self._open[:arrived], self._open[arrived:]
        return [sent.interaction_id for sent in taken]
