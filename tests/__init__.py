"""The tests of interactd."""
