"""Decisions: pure functions from a request and a snapshot to a plan, a script or a refusal."""
