"""Randomness from the kernel, the source of the ``secrets`` module without its slow imports."""

from __future__ import annotations

import os


class SystemDice:
    """Random values that nobody can foresee."""

    def uuid(self) -> str:
        """A random UUID (RFC 9562 version 4), lower case with dashes."""
        raw = bytearray(os.urandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def nonce(self) -> str:
        """Sixteen random hex digits."""
        return os.urandom(8).hex()

    def mac(self) -> str:
        """Tashi's default MAC: 52:54:00 and three random bytes."""
        return "52:54:00:" + os.urandom(3).hex(":")
