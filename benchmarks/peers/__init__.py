"""What a person would write instead of interactd, the usual way."""
