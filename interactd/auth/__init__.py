"""Who is calling: passwords, sessions, login limits and the tokens of trigger devices (contract section 2)."""
