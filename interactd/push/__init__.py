"""The way out through Apple: which devices are pushed to, and the client that does it."""
