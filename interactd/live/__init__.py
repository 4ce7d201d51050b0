"""The way out: sockets and pushes."""
