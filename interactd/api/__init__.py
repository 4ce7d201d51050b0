"""The kernel: what turns a request into an answer."""
