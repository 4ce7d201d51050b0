"""Counters and timings, by call name; read by Prometheus."""
from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ANSWERS = Counter("interactd_answers_total", "Answers by call and HTTP status.", ("call", "status"))
SECONDS = Histogram("interactd_call_seconds", "Seconds from a request to its answer, by call.", ("call",),
                    buckets=(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5))

SOCKETS = Gauge("interactd_sockets", "Open sockets.")
SOCKETS_CLOSED = Counter("interactd_sockets_closed_total", "Sockets closed by the daemon, by close code.", ("code",))
NOTICES = Counter("interactd_notices_total", "Notifications written to sockets.")
RESYNCS = Counter("interactd_resyncs_total", "Sockets that were told to synchronize, since what they had missed could not be replayed.")
WORDS_IGNORED = Counter("interactd_words_ignored_total", "Messages shown and dismiss of something that was never delivered to that device.")


def answered(call: str, status: int, seconds: float) -> None:
    """A call was answered."""
    ANSWERS.labels(call, str(status)).inc()
    SECONDS.labels(call).observe(seconds)
