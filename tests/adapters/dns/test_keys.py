"""Keys for updates: each form that BIND's tools have made, and what is no key."""

import base64
import re
from pathlib import Path

import dns.tsig
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tashictl.adapters.dns import keys
from tashictl.errors import InvalidRequest
from tashictl.model.settings import DnsSettings, Secret

SECRET = "q4DsvbF9o3CEkMFyLMXTtw=="
RAW = base64.b64decode(SECRET)
PRIVATE = "Kmerkabah.+157+36480.private"
# As dnssec-keygen of BIND 9.9 wrote them, and tsig-keygen of 9.18.
PRIVATE_TEXT = f"Private-key-format: v1.3\nAlgorithm: 157 (HMAC_MD5)\nKey: {SECRET}\nBits: AAA=\n"
CREATED = "Created: 20120202020202\nPublish: 20120202020202\nActivate: 20120202020202\n"
PUBLIC_TEXT = "merkabah. IN KEY 512 3 157 q4DsvbF9o3CE kMFyLMXTtw==\n"
CONF_TEXT = f'key "merkabah" {{\n\talgorithm hmac-md5;\n\tsecret "{SECRET}";\n}};\n'
NAMED_CONF = f"""
/* key "old" {{ algorithm hmac-sha1; secret "AAAA"; }}; */
options {{ directory "/var/cache/bind"; }};
key other {{ secret "c2VjcmV0"; algorithm HMAC-SHA256; }};  // key "x" {{ }};
# key "y" {{ }};
zone "cloud.test" {{ type primary; allow-update {{ key merkabah; key "other"; }}; }};
{CONF_TEXT.replace("hmac-md5", '"hmac-md5.sig-alg.reg.int."')}
controls {{ inet 127.0.0.1 allow {{ localhost; }} keys {{ "rndc-key"; }}; }};
"""


def written(folder: Path, name: str, text: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def loaded(path: Path, name: str | None = None) -> keys.Key:
    key = keys.load(DnsSettings(key_file=str(path), key_name=name))
    assert key is not None
    return key


def refused(path: Path, name: str | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        loaded(path, name)
    assert caught.value.code == "E-DNS-KEY"
    return caught.value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (PRIVATE, PRIVATE_TEXT),
        (PRIVATE, PRIVATE_TEXT + CREATED),
        (PRIVATE, PRIVATE_TEXT.replace("\n", "\r\n")),
        ("Kmerkabah.+157+36480.key", PUBLIC_TEXT),
        ("merkabah.key", "; a comment\n" + PUBLIC_TEXT.replace(" IN", " 3600 IN")),
        ("merkabah.conf", CONF_TEXT),
        ("one-line", " ".join(CONF_TEXT.split())),
    ],
)
def test_each_form_of_a_key_file_is_read(tmp_path: Path, name: str, text: str) -> None:
    key = loaded(written(tmp_path, name, text))

    assert (key.name.to_text(), key.secret, key.algorithm) == ("merkabah.", RAW, dns.tsig.HMAC_MD5)


@pytest.mark.parametrize(
    ("number", "algorithm"),
    [
        (161, dns.tsig.HMAC_SHA1),
        (162, dns.tsig.HMAC_SHA224),
        (163, dns.tsig.HMAC_SHA256),
        (164, dns.tsig.HMAC_SHA384),
        (165, dns.tsig.HMAC_SHA512),
    ],
)
def test_the_number_of_an_old_file_is_its_algorithm(
    tmp_path: Path, number: int, algorithm: object
) -> None:
    text = PRIVATE_TEXT.replace("157 (HMAC_MD5)", f"{number} (X)")

    key = loaded(written(tmp_path, f"Kweb.example.org.+{number}+00001.private", text))

    assert (key.name.to_text(), key.algorithm) == ("web.example.org.", algorithm)


def test_an_old_file_is_found_without_its_ending(tmp_path: Path) -> None:
    path = written(tmp_path, PRIVATE, PRIVATE_TEXT)

    assert loaded(path.with_suffix("")).secret == RAW


def test_a_renamed_old_file_needs_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, "dns.private", PRIVATE_TEXT)

    assert loaded(path, "merkabah").name.to_text() == "merkabah."
    assert "K<name>" in refused(path).cause


def test_of_several_keys_the_name_says_which(tmp_path: Path) -> None:
    path = written(tmp_path, "named.conf", NAMED_CONF)

    assert loaded(path, "Merkabah.").secret == RAW
    other = loaded(path, "other")
    assert (other.secret, other.algorithm) == (b"secret", dns.tsig.HMAC_SHA256)
    assert refused(path).cause == "it has the keys other, merkabah: say by dnsKeyName which"
    assert refused(path, "old").cause == "dnsKeyName is old, and it has other, merkabah"


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        ("empty", "", "no form of key"),
        ("text", "hello\n", "no form of key"),
        ("cut", CONF_TEXT[:30], "a key without algorithm and secret"),
        ("cut", 'key "merkabah" { secret "q4DsvbF9o3CEkMFyLMXTtw=="; };', "without algorithm"),
        ("alg", CONF_TEXT.replace("md5", "md6"), "none of hmac-md5, hmac-sha1"),
        ("alg", CONF_TEXT.replace("hmac-md5", "hmac-sha256-80"), "none of"),
        ("b64", CONF_TEXT.replace("==", "="), "no base64"),
        ("b64", CONF_TEXT.replace("q4D", "q4!"), "no base64"),
        ("none", CONF_TEXT.replace(SECRET, ""), "empty"),
        ("name", CONF_TEXT.replace("merkabah", "x" * 64), "its name is none"),
        ("name", CONF_TEXT.replace("merkabah", "merkäbah"), "its name is none"),
        ("name", CONF_TEXT.replace("merkabah", ""), "no name"),
        (PRIVATE, PRIVATE_TEXT.replace("157 (HMAC_MD5)", "8 (RSASHA256)"), "157 hmac-md5"),
        (PRIVATE, PRIVATE_TEXT.replace("Key:", "Modulus:"), "no Algorithm and Key"),
        (PRIVATE, PRIVATE_TEXT.replace("157 (HMAC_MD5)", ""), "known: 157"),
        ("Kmerkabah.+005+36480.key", PUBLIC_TEXT.replace("157", "5"), "known: 157"),
    ],
)
def test_what_is_no_key_is_told_with_its_file_and_without_its_text(
    tmp_path: Path, name: str, text: str, cause: str
) -> None:
    path = written(tmp_path, name, text)

    error = refused(path)

    assert str(path) in error.what
    assert cause in error.cause
    assert "q4" not in str(error) + error.hint


def test_a_file_that_others_can_read_is_refused_with_the_command_for_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a key.conf", CONF_TEXT, 0o604)

    error = refused(path)

    assert "others can read" in error.what
    assert error.hint.startswith(f"chmod 600 '{path}'")
    path.chmod(0o640)
    assert loaded(path).secret == RAW


def test_a_file_that_is_not_there_or_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "binary").chmod(0o600)

    assert "not there" in refused(tmp_path / "none").what
    assert "regular" in refused(tmp_path).what
    assert refused(tmp_path / "binary").cause == "it is no text"


def test_a_key_of_the_settings_needs_name_and_secret() -> None:
    secret = Secret(SECRET)
    key = keys.load(
        DnsSettings(key_name="merkabah", secret_key=secret, key_algorithm="hmac-sha512")
    )

    assert key is not None
    assert (key.secret, key.algorithm) == (RAW, dns.tsig.HMAC_SHA512)
    assert keys.load(DnsSettings()) is None
    for half in (DnsSettings(key_name="merkabah"), DnsSettings(secret_key=secret)):
        with pytest.raises(InvalidRequest, match=r"E-DNS-KEY.*is not set"):
            keys.load(half)
    with pytest.raises(InvalidRequest) as caught:
        keys.load(DnsSettings(key_name="merkabah", secret_key=Secret(f"{SECRET}!")))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_does_not_show_its_secret() -> None:
    key = keys.load(DnsSettings(key_name="merkabah", secret_key=Secret(SECRET)))

    assert key is not None
    for text in (repr(key), str(key), key.text):
        assert "merkabah" in text
        assert SECRET not in text
    assert key.text == "merkabah (hmac-md5)"


SPACE = st.sampled_from([" ", "\n", "\t", " /* ; } */ ", " // }\n", " # key x {\n"])
SPACES = st.lists(SPACE, min_size=1, max_size=3).map("".join)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


@given(
    name=NAMES,
    secret=st.binary(min_size=1, max_size=64),
    algorithm=st.sampled_from(sorted(keys.ALGORITHMS)),
    space=SPACES,
    swapped=st.booleans(),
    quoted=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_key_statement_is_read_however_it_is_laid_out(
    tmp_path: Path,
    name: str,
    secret: bytes,
    algorithm: str,
    space: str,
    swapped: bool,
    quoted: bool,
) -> None:
    q = '"' if quoted else ""
    text_secret = base64.b64encode(secret).decode()
    fields = [f"algorithm {q}{algorithm}{q}{space};", f"secret {q}{text_secret}{q};"]
    body = space.join(reversed(fields) if swapped else fields)
    text = f"{space}key {space}{q}{name}{q}{space}{{{space}{body}{space}}}{space};{space}"

    key = loaded(written(tmp_path, "key", text))

    assert (key.name.to_text(), key.secret) == (f"{name}.", secret)
    assert key.algorithm == keys.ALGORITHMS[algorithm]


@given(st.lists(st.sampled_from(re.findall(r"\w+|\S|\s", NAMED_CONF + PRIVATE_TEXT)), max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_key_or_is_refused(tmp_path: Path, words: list[str]) -> None:
    path = written(tmp_path, PRIVATE, "".join(words))

    try:
        key = loaded(path)
    except InvalidRequest as error:
        assert error.code == "E-DNS-KEY"
    else:
        assert key.secret
