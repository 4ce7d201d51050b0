"""interactd: interaction events in, the right devices know at once."""

__version__ = "0.1.0"
