"""Use cases: decide with planning, act through the ports."""
