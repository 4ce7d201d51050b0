"""Why interactd does not start: each says it in one sentence (the configuration: one line a fault) to whoever runs it."""


class Refusal(Exception):
    """interactd does not start, or a command of interactctl does nothing."""


class ConfigError(Refusal):
    """The configuration is wrong."""


class StateError(Refusal):
    """The state directory can not be used."""


class InUse(StateError):
    """Another process has claimed the state directory."""


class ClusterError(Refusal):
    """The embedded PostgreSQL can not be used here."""


class SchemaError(Refusal):
    """The database can not be used by this code."""
