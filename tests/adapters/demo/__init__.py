"""Tests of the demo image: its bytes, its parts, the texts that go into it."""
