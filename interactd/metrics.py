"""Counters and timings, by call name; read by Prometheus."""
from __future__ import annotations

from prometheus_client import Counter, Histogram

ANSWERS = Counter("interactd_answers_total", "Answers by call and HTTP status.", ("call", "status"))
SECONDS = Histogram("interactd_call_seconds", "Seconds from a request to its answer, by call.", ("call",),
                    buckets=(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5))


def answered(call: str, status: int, seconds: float) -> None:
    """A call was answered."""
    ANSWERS.labels(call, str(status)).inc()
    SECONDS.labels(call).observe(seconds)
