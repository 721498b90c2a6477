import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import userdata

MIME = b"""Content-Type: multipart/mixed; boundary="==X"
MIME-Version: 1.0

--==X
Content-Type: text/cloud-config

packages: [a
--==X--
"""
GOOD = {
    "cloud-config": b"#cloud-config\npackages: [nginx]\n",
    "with blanks and CRLF": b"\n #cloud-config  \r\nruncmd:\r\n- [ls]\r\n",
    "in capitals": b"#Cloud-Config\na: 1\n",
    "with aliases": b"#cloud-config\nx: &x {a: 1}\ny: *x\nz: {<<: *x, b: 2}\n",
    "of comments alone": b"#cloud-config\n# later\n",
    "flow": b"#cloud-config\n{packages: [a], users: [default]}\n",
    "a list in it twice the same": b"#cloud-config\nruncmd: [a, a]\n",
    "a script": b"#!/bin/sh\n  : [\n",
    "include": b"#include\nhttp://10.0.0.1/x\n",
    "include once": b"#include-once http://10.0.0.1/x\n",
    "boothook": b"#cloud-boothook\n#!/bin/sh\n",
    "part handler": b"#part-handler\n",
    "jinja": b"## template: jinja\n#cloud-config\nx: {{ v1.local_hostname }}\n",
    "archive": b"#cloud-config-archive\n- {type: text/x-shellscript, content: x}\n",
    "jsonp": b"#cloud-config-jsonp\n[]\n",
    "mime": MIME,
}
BAD = {
    "not text": (b"#cloud-config\nx: \xff\n", "byte 18 is not UTF-8"),
    "gzip": (b"\x1f\x8b\x08\x00", "gunzip"),
    "empty": (b" \n", "empty"),
    "too large": (b"#!" + b"x" * userdata.MAX_BYTES, "512 KiB"),
    "no header": (b"packages: [a]\n", "line 1"),
    "json": (b'{"packages": []}', "line 1"),
    "a byte order mark": (b"\xef\xbb\xbf#cloud-config\n", "byte order mark"),
    "a misspelt header": (b"#cloud-cofnig\n", "did you mean #cloud-config"),
    "an unknown header": (b"#upstart-job\n", "'#upstart-job' is unknown"),
    "another template": (b"## template: mako\n", "is unknown"),
    "a list": (b"#cloud-config\n- a\n", "line 2, column 1: the document is not a mapping"),
    "a word": (b"#cloud-config\nhello\n", "line 2, column 1: the document is not a mapping"),
    "an open bracket": (b"#cloud-config\na: [1\nb: 2\n", "line 3, column 2"),
    "a tab": (b"#cloud-config\na:\n\t- b\n", "line 3, column 1"),
    "a key twice": (b"#cloud-config\na: 1\nb: 2\na: 3\n", "line 4, column 1: 'a' is there twice"),
    "a key twice below": (b"#cloud-config\na: {b: 1, b: 2}\n", "line 2, column 11: 'b' is there"),
    "a key twice in a list": (b"#cloud-config\nusers:\n- name: x\n  name: y\n", "line 4, column 3"),
    "an unknown tag": (b"#cloud-config\na: !vault x\n", "line 2, column 4"),
    "an impossible date": (b"#cloud-config\na: 2026-99-99\n", "no YAML: month"),
    "a control character": (b"#cloud-config\na: \x01\n", "line 2: a character"),
    "a key that is a list": (b"#cloud-config\n? [a]\n: b\n", "line 2"),
    "an undefined alias": (b"#cloud-config\na: *b\n", "line 2"),
    "a second document": (b"#cloud-config\na: 1\n---\nb: 2\n", "line 3"),
    "too deep": (b"#cloud-config\na: " + b"[" * 3000, "no YAML"),
    "an archive that is no list": (b"#cloud-config-archive\na: 1\n", "not a list"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_cloud_init_takes_is_taken(name: str) -> None:
    assert userdata.problems(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_cloud_init_would_not_take_is_refused_with_its_place(name: str) -> None:
    data, said = BAD[name]

    (problem,) = userdata.problems(data)

    assert problem.exit_code == 2
    assert said in f"{problem.what} {problem.cause} {problem.hint}"


def test_a_key_that_is_there_three_times_is_told_of_twice() -> None:
    found = userdata.problems(b"#cloud-config\na: 1\na: 2\nb: 1\na: 3\n")

    assert [p.what.partition(": ")[2] for p in found] == [
        "line 3, column 1: 'a' is there twice, first in line 2",
        "line 5, column 1: 'a' is there twice, first in line 3",
    ]


def test_a_misspelt_key_is_warned_of_with_the_nearest() -> None:
    data = b"#cloud-config\npakages: [a]\nssh_authorised_keys: []\nusers: []\nx-own: 1\n"

    assert userdata.warnings(data) == [
        "--cloud-init: line 2: 'pakages', did you mean packages?",
        "--cloud-init: line 3: 'ssh_authorised_keys', did you mean ssh_authorized_keys?",
    ]
    assert userdata.warnings(b"#!/bin/sh\npakages: x\n") == []
    assert userdata.warnings(b"#cloud-config\n") == []


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(min_size=1, max_size=8), _VALUES, min_size=1, max_size=4))
def test_whatever_yaml_writes_for_a_mapping_has_no_problems(value: dict[str, object]) -> None:
    assert userdata.problems(b"#cloud-config\n" + yaml.safe_dump(value).encode()) == []


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda t: f"#cloud-config\n{t}".encode()))
def test_no_data_makes_it_fail(data: bytes) -> None:
    problems = userdata.problems(data, with_keys=True)

    if not problems:
        userdata.warnings(data)
