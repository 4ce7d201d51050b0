"""Measurements of interactd; README.md says what the numbers mean."""
