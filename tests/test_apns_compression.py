"""Header blocks: whatever is asked in whatever order, with tables of any size, the other side reads what was meant."""
from __future__ import annotations

from hpack import Decoder, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from interactd.push.compression import Compression, Fields, authorization, literal, path

NAMES = (b"apns-topic", b"apns-push-type", b"apns-priority", b":authority", b"x")
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((b"10", b"alert", b"voip", b"org.example." + b"x" * 100))), max_size=4).map(tuple)


class Blocks(SynchronousTestCase):
    """`Compression` against hpack's decoder."""

    @given(st.lists(st.one_of(st.sampled_from((0, 40, 100, 300, 4096)), st.tuples(PAIRS, PAIRS, st.binary(max_size=300))), max_size=30))
    def test_read_as_meant(self, steps: list[object]) -> None:
        """Blocks follow each other, and the peer changes the size of its table in between."""
        ours, theirs = Compression(), Decoder()
        theirs.max_allowed_table_size = 4096
        for step in steps:
            if isinstance(step, int):
                ours.resize(step)
                continue
            pseudo, common, value = step            # type: ignore[misc]
            block = ours.block(Fields(pseudo, path(value), common, literal(b"apns-id", value) + authorization(value)))
            read = theirs.decode(block, raw=True)
            self.assertEqual([tuple(one) for one in read],
                             [*pseudo, (b":path", value), *common, (b"apns-id", value), (b"authorization", value)])
            own = [read[len(pseudo)], *read[-2:]]
            self.assertTrue(all(isinstance(one, NeverIndexedHeaderTuple) for one in own))

    def test_short(self) -> None:
        """What is the same for all costs a byte each from the second time on."""
        ours = Compression()
        fields = Fields(((b":method", b"POST"), (b":authority", b"api.push.apple.com")), b"", ((b"apns-topic", b"org.example"),), b"")
        sizes = [len(ours.block(fields)) for _ in range(3)]
        self.assertEqual(sizes[1:], [3, 3])
        self.assertGreater(sizes[0], 20)
