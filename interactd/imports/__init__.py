"""Importing contacts from other systems and from files, and writing them out again."""
