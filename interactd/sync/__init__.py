"""Sync, sharing, merging, cleaning up."""
