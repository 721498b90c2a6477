"""The file of trusted host keys."""

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.adapters.ssh.hostkeys import (
    HostKeyStore,
    format_line,
    host_key,
    index_of,
    parse_line,
    without,
)
from tashictl.errors import InvalidRequest
from tashictl.model.script import HostKey

ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
keys = st.builds(
    host_key,
    st.sampled_from(["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]),
    st.binary(min_size=1, max_size=64),
)
lines = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=80)


def key(algorithm: str = "ssh-ed25519", seed: bytes = b"k") -> HostKey:
    return host_key(algorithm, seed)


def test_a_fingerprint_is_the_one_that_openssh_shows() -> None:
    shown = host_key("ssh-ed25519", base64.b64decode(ED25519)).fingerprint
    # github.com's published fingerprint.
    assert shown == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


@given(names, keys)
def test_a_line_reads_back_as_it_was_made(name: str, made: HostKey) -> None:
    read = parse_line(format_line(name, made))
    assert (read.hosts, read.key, read.marker) == ((name,), made, "")


@given(lines)
def test_no_line_can_crash_the_parser(text: str) -> None:
    assert parse_line(text).text == text


@given(st.lists(lines), names, keys, keys)
def test_whatever_else_stands_in_the_file_survives(
    tmp_path_factory: pytest.TempPathFactory,
    others: list[str],
    name: str,
    one: HostKey,
    two: HostKey,
) -> None:
    path = tmp_path_factory.mktemp("k") / "known_hosts"
    kept = [line for line in others if name not in line.split("#")[0]]
    path.write_bytes("".join(line + "\n" for line in kept).encode())
    store = HostKeyStore(path)
    store.trust(name, one)
    store.trust(name, two)
    expected = (two,) if one.algorithm == two.algorithm else (one, two)
    assert store.key_of(name) == expected
    store.forget(name)
    assert store.key_of(name) == ()
    assert path.read_bytes() == "".join(line + "\n" for line in kept).encode()


def test_comments_blank_lines_and_strange_bytes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    before = b"# mine\n\n|1|abc=|def= ssh-ed25519 " + ED25519.encode() + b"\nr\xe4tsel\n"
    path.write_bytes(before)
    HostKeyStore(path).trust("h1", key())
    assert path.read_bytes() == before + format_line("h1", key()).encode() + b"\n"


def test_the_other_names_of_a_line_keep_its_key() -> None:
    both = (parse_line(format_line("h1,h2", key())),)
    left = without(both, "h1", None)
    assert [line.hosts for line in left] == [("h2",)]
    assert left[0].key == key()


def test_a_key_of_another_algorithm_stays_when_one_is_replaced(tmp_path: Path) -> None:
    store = HostKeyStore(tmp_path / "known_hosts")
    store.trust("h1", key("ssh-rsa"))
    store.trust("h1", key("ssh-ed25519", b"old"))
    store.trust("h1", key("ssh-ed25519", b"new"))
    assert store.key_of("h1") == (key("ssh-rsa"), key("ssh-ed25519", b"new"))


def test_authorities_are_no_keys_and_revoked_keys_are_never_trusted(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    bad = key(seed=b"bad")
    path.write_text(
        f"@cert-authority h1 {key().algorithm} {key().base64}\n"
        f"@revoked * {bad.algorithm} {bad.base64}\n"
        f"h2 {bad.algorithm} {bad.base64}\n"
        f"h2 {key().algorithm} {key().base64}\n"
        "@revoked\n@strange h1 ssh-ed25519 AAAA\n"
    )
    store = HostKeyStore(path)
    assert store.key_of("h1") == ()
    assert store.key_of("h2") == (key(),)
    assert store.is_revoked("anything", bad)
    assert not store.is_revoked("h2", key())


def test_the_file_is_private_and_a_failed_write_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "known_hosts"
    store = HostKeyStore(path)
    store.trust("h1", key())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidRequest, match="cannot be read or written"):
        store.trust("h2", key())
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["known_hosts", "known_hosts.lock"]


def test_what_another_process_trusts_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    one, two = HostKeyStore(path), HostKeyStore(path)
    assert one.key_of("h1") == ()
    two.trust("h1", key())
    assert one.key_of("h1") == (key(),)
    two.forget("h1")
    assert one.key_of("h1") == ()


def test_reading_makes_no_file(tmp_path: Path) -> None:
    store = HostKeyStore(tmp_path / "state" / "known_hosts")
    assert store.key_of("h1") == ()
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_would_break_the_file_is_refused(tmp_path: Path) -> None:
    store = HostKeyStore(tmp_path / "known_hosts")
    for name in ("a b", "a,b", "a\nb", "@revoked", "#a", ""):
        with pytest.raises(InvalidRequest):
            store.trust(name, key())
    assert store.key_of("a") == ()


def test_a_lookup_does_not_walk_the_file() -> None:
    many = tuple(parse_line(format_line(f"h{i}", key())) for i in range(3000))
    assert index_of(many).keys["h2999"] == (key(),)
