"""Mails to users: what they say, how they wait, how they are sent."""
