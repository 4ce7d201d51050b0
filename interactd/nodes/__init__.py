"""Several daemons on one database: who they are, and the hints they give each other."""
