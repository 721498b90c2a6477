import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import sshkeys
from tests.planning.seed_cases import ECDSA, ED25519, RSA

PRIVATE = b"""-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz
-----END OPENSSH PRIVATE KEY-----
"""


def packed(*parts: bytes) -> str:
    """A blob of strings, in base64."""
    return base64.b64encode(b"".join(struct.pack(">I", len(p)) + p for p in parts)).decode()


def said(*contents: bytes) -> list[str]:
    return [f"{p.what} ({p.cause}) {p.hint}" for p in sshkeys.read(contents)[1]]


def test_all_keys_of_all_files_are_read_each_once_as_written() -> None:
    first = f"# mine\n\n{ED25519}\r\n  {ECDSA}\n".encode()
    second = f'{RSA}\n{ED25519}\nfrom="10.0.0.0/8,*.x y",no-pty {ED25519}\n'.encode()

    keys, problems = sshkeys.read((first, second))

    assert problems == []
    assert keys == (ED25519, ECDSA, RSA, f'from="10.0.0.0/8,*.x y",no-pty {ED25519}')


@pytest.mark.parametrize(
    "content",
    [
        PRIVATE,
        PRIVATE.replace(b"OPENSSH ", b"RSA "),
        PRIVATE.replace(b"OPENSSH ", b""),
        PRIVATE.replace(b"OPENSSH ", b"ENCRYPTED "),
        b"PuTTY-User-Key-File-3: ssh-ed25519\n",
        ED25519.encode() + b"\n" + PRIVATE,
    ],
)
def test_a_private_key_is_named_as_one_and_nothing_of_it_is_told(content: bytes) -> None:
    keys, problems = sshkeys.read((content,))

    assert keys == ()
    (problem,) = problems
    assert "PRIVATE" in problem.what and ".pub" in problem.hint
    assert "b3Blb" not in f"{problem.what}{problem.cause}{problem.hint}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there is no key"),
        (b"# nothing\n", "there is no key"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * (sshkeys.MAX_BYTES + 1), "64 KiB"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\n", "ssh-keygen -i"),
        (b"-----BEGIN PUBLIC KEY-----\n", "ssh-keygen -i"),
        (b"hello world\n", "'hello' is unknown"),
        (b"ssh-ed25519\n", "nothing behind the type"),
        (b"ssh-ed25519 !!!!\n", "no base64"),
        (ED25519[:-21].encode(), "no base64"),
        (ED25519[:60].encode(), "cut short"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa").encode(), "cut short"),
        (f"ssh-ed25519 {packed(b'ssh-xx25519', bytes(32))}".encode(), "another type"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', bytes(31))}".encode(), "32 bytes, not 31"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes(3), bytes(300))}".encode(), "1024 bits"),
        (b"ssh-dss AAAA\n", "DSA"),
        (b"ssh-ed25519-cert-v01@openssh.com AAAA\n", "certificate"),
        (f"{ED25519}\x1b[31m".encode(), "control characters"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(content: bytes, words: str) -> None:
    (found,) = said(content)

    assert words in found


def test_each_bad_line_is_named() -> None:
    found = said(f"{ED25519}\nbad one\n# x\nbad two\n".encode(), b"")

    assert [words.split(" (")[0] for words in found] == [
        "--ssh-key: line 2 is no OpenSSH public key",
        "--ssh-key: line 4 is no OpenSSH public key",
        "--ssh-key: there is no key in the file",
    ]


@given(
    key=st.binary(min_size=32, max_size=32),
    comment=st.text(st.characters(categories=["L"]), max_size=9),
)
def test_a_well_formed_key_is_taken_whatever_it_holds(key: bytes, comment: str) -> None:
    line = f"ssh-ed25519 {packed(b'ssh-ed25519', key)} {comment}".strip()

    assert sshkeys.read((line.encode(),)) == ((line,), [])


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda t: f"ssh-rsa {t}".encode()))
def test_no_content_makes_it_fail(content: bytes) -> None:
    keys, problems = sshkeys.read((content,))

    assert keys or problems
