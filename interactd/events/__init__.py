"""The event path: in, batched, matched, stored."""
