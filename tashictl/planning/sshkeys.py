"""OpenSSH public keys as an operator gives them: one a line, as in authorized_keys."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterable, Iterator

from tashictl.errors import InvalidRequest, TashiError

MAX_BYTES = 64 * 1024  # of one file
# How many strings and numbers follow the type in each kind's blob (RFC 4253, RFC 5656, RFC 8709,
# OpenSSH's PROTOCOL.u2f).
_PARTS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
_ED25519_BYTES = 32
_RSA_MIN_BYTES = 128  # of the modulus: 1024 bits, what sshd takes at all
_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----|PuTTY-User-Key-File-")
_OTHER_FORM = re.compile(r"---- ?BEGIN SSH2 PUBLIC KEY|-----BEGIN [A-Z ]*PUBLIC KEY-----")
# An option ends at the first blank outside of quotes (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
_OPTIONS = re.compile(r'((?:[^\s"]|"(?:\\.|[^"\\])*")+)\s+(.*)')


def read(contents: Iterable[bytes]) -> tuple[tuple[str, ...], list[TashiError]]:
    """All keys of all files, each once, as they were written; and all problems.

    What a private key holds is in no problem's text.
    """
    keys: dict[str, None] = {}
    problems: list[TashiError] = []
    for content in contents:
        try:
            keys.update(dict.fromkeys(_file(content, problems)))
        except InvalidRequest as problem:
            problems.append(problem)
    return tuple(keys), problems


def _file(content: bytes, problems: list[TashiError]) -> Iterator[str]:
    if len(content) > MAX_BYTES:
        raise _bad("the file is too large", f"more than {MAX_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad("the file holds no text", "it is not UTF-8") from None
    if _PRIVATE.search(text):
        raise InvalidRequest(
            "E-SSH-KEY",
            "--ssh-key: this is a PRIVATE key, which must not leave your machine",
            cause="a guest is given the public half; nothing of this file was used",
            hint="give the file that ends in .pub, or make it: ssh-keygen -y -f KEY > KEY.pub",
        )
    if _OTHER_FORM.search(text):
        raise InvalidRequest(
            "E-SSH-KEY",
            "--ssh-key: the public key is not in OpenSSH's form",
            hint="ssh-keygen -i -f FILE > KEY.pub   (for PEM: add -m PKCS8)",
        )
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        found = True
        why = fault_of(word)
        if why:
            problems.append(_bad(f"line {number} is no OpenSSH public key", why))
        else:
            yield word
    if not found:
        raise _bad("there is no key in the file", "")


def _bad(what: str, cause: str) -> InvalidRequest:
    return InvalidRequest(
        "E-SSH-KEY",
        f"--ssh-key: {what}",
        cause=cause,
        hint="one key a line, like: ssh-ed25519 AAAA… me@desk   (~/.ssh/id_ed25519.pub)",
    )


def fault_of(line: str) -> str:
    """Why a line of authorized_keys is none, ``""`` for one that sshd takes."""
    if not line.isprintable():
        return "there are control characters in it"
    words = line.split()
    if words[0] not in _PARTS:
        match = _OPTIONS.fullmatch(line)  # options may stand before the type
        words = match.group(2).split() if match else []
        if not words or words[0] not in _PARTS:
            return _unknown(line.split()[0], words[:1])
    if len(words) == 1:
        return "there is nothing behind the type"
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return "the key is no base64: it was cut, or changed on the way"
    return _blob_fault(words[0], blob)


def _unknown(first: str, second: list[str]) -> str:
    for word in (first, *second):
        if "-cert-v01@" in word:
            return "it is a certificate, not a key"
        if word == "ssh-dss":
            return "DSA keys are no longer taken by sshd"
    return f"the type {first[:40]!r} is unknown"


def _blob_fault(kind: str, blob: bytes) -> str:
    parts = _strings(blob)
    if parts is None or len(parts) != _PARTS[kind] + 1:
        return "the key is cut short, or has something behind it"
    if parts[0] != kind.encode():
        return f"it says {kind}, but holds another type of key"
    if kind == "ssh-ed25519" and len(parts[1]) != _ED25519_BYTES:
        return f"an ed25519 key has {_ED25519_BYTES} bytes, not {len(parts[1])}"
    if kind == "ssh-rsa" and len(parts[2].lstrip(b"\0")) < _RSA_MIN_BYTES:
        return f"an RSA key has at least {_RSA_MIN_BYTES * 8} bits"
    return ""


def _strings(blob: bytes) -> list[bytes] | None:
    """The strings of a blob, each behind its length, or None where the lengths do not fit."""
    found, at = [], 0
    while at < len(blob):
        if at + 4 > len(blob):
            return None
        (size,) = struct.unpack(">I", blob[at : at + 4])
        at += 4 + size
        if at > len(blob):
            return None
        found.append(blob[at - size : at])
    return found
