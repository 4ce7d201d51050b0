"""A client of the live socket, for programs in Python with Twisted."""
