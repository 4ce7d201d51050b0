"""Counters and timings, by call name; read by Prometheus."""
from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

ANSWERS = Counter("interactd_answers_total", "Answers by call and HTTP status.", ("call", "status"))
SECONDS = Histogram("interactd_call_seconds", "Seconds from a request to its answer, by call.", ("call",),
                    buckets=(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5))

SOCKETS = Gauge("interactd_sockets", "Open sockets.")
SOCKETS_CLOSED = Counter("interactd_sockets_closed_total", "Sockets closed by the daemon, by close code.", ("code",))
HINTS = Counter("interactd_hints_total", "Hints exchanged with other nodes, by direction.", ("direction",))
NOTICES = Counter("interactd_notices_total", "Notifications written to sockets.")
RESYNCS = Counter("interactd_resyncs_total", "Sockets that were told to synchronize, since what they had missed could not be replayed.")
WORDS_IGNORED = Counter("interactd_words_ignored_total", "Messages shown and dismiss of something that was never delivered to that device.")

PUSHES = Counter("interactd_pushes_total", "Pushes by how they ended (docs/apns.md).", ("outcome",))
PUSHES_SENT = Counter("interactd_pushes_sent_total", "Requests sent to Apple, second attempts included.")
PUSH_ANSWERS = Counter("interactd_push_answers_total", "Answers of Apple by status and reason.", ("status", "reason"))
PUSH_RETRIES = Counter("interactd_push_retries_total", "Pushes that were queued once more.")
PUSH_CONNECTIONS = Counter("interactd_push_connections_total", "Connections made to Apple, or tried.")
PUSH_QUEUE = Gauge("interactd_push_queue", "Pushes that wait to be sent.")
PUSH_QUEUE_AGE = Gauge("interactd_push_queue_age_seconds", "For how long the first of them has waited.")
PUSH_WINDOW = Gauge("interactd_push_window_bytes", "Bytes of pushes that Apple would take at once.")
PUSH_IN_FLIGHT = Gauge("interactd_push_in_flight", "Pushes that await their answer.")
PUSH_LIMIT = Gauge("interactd_push_limit", "Pushes that Apple allows to be in flight.")
PUSH_UP = Gauge("interactd_push_up", "Whether pushes are sent: 1 up, 0.5 backing off, 0 blocked or stopped.")
PUSH_TOKEN_AGE = Gauge("interactd_push_token_age_seconds", "Age of the provider token.")
PUSH_CERTIFICATE = Gauge("interactd_push_certificate_expires", "When the client certificate ends, in seconds since 1970.")

MAILS = Counter("interactd_mails_total", "Mails by what became of them: sent, retried, refused, dropped, lost.", ("outcome",))


def answered(call: str, status: int, seconds: float) -> None:
    """A call was answered."""
    answers, timings = _of(call, status)
    answers.inc()
    timings.observe(seconds)


@cache
def _of(call: str, status: int) -> tuple[Counter, Histogram]:
    return ANSWERS.labels(call, str(status)), SECONDS.labels(call)
