"""The tests of interactd."""
from hypothesis import HealthCheck, settings

# What is random is the same in every run, and no test fails because the machine was busy.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("suite")
