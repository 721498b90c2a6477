"""Hosts over SSH: strict host keys, absolute deadlines, one kept connection per host."""
