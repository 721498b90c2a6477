"""The key that signs updates: from BIND's files, old and new, or from the settings.

A secret is in no text that this file makes, and in no repr.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import PurePath

import dns.exception
import dns.name
import dns.tsig

from tashictl.adapters import trust
from tashictl.errors import InvalidRequest
from tashictl.model.settings import DnsSettings

ALGORITHMS: Mapping[str, dns.name.Name] = {
    "hmac-md5": dns.tsig.HMAC_MD5,
    "hmac-sha1": dns.tsig.HMAC_SHA1,
    "hmac-sha224": dns.tsig.HMAC_SHA224,
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
}
# Of keys in files that dnssec-keygen made.
_NUMBERS = {
    157: "hmac-md5",
    161: "hmac-sha1",
    162: "hmac-sha224",
    163: "hmac-sha256",
    164: "hmac-sha384",
    165: "hmac-sha512",
}
_MD5_IN_FULL = "hmac-md5.sig-alg.reg.int"
_OLD_NAME = re.compile(r"K(?P<name>.+?)\.?\+(?P<number>\d{3})\+\d{5}(?:\.private|\.key)?")
_OLD_RECORD = re.compile(
    r"^(?P<name>[^\s;]+)[ \t]+(?:\d+[ \t]+)?(?:IN[ \t]+)?KEY[ \t]+\d+[ \t]+\d+[ \t]+"
    r"(?P<number>\d+)[ \t]+(?P<secret>[^;\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_TOKEN = re.compile(
    r"\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/"
    r'|(?P<token>"(?P<quoted>[^"\n]*)"|[{};]|[^\s{};"]+)',
    re.DOTALL,
)


class Key(dns.tsig.Key):
    """A key whose repr does not show its secret."""

    def __repr__(self) -> str:
        return f"Key({self.name}, ***)"

    @property
    def text(self) -> str:
        """Its name and algorithm, for people."""
        algorithm = next(
            (name for name, wire in ALGORITHMS.items() if wire == self.algorithm), "unknown"
        )
        return f"{self.name.to_text(omit_final_dot=True)} ({algorithm})"


class _Fault(Exception):
    """What is wrong with a key, without where it is."""


class _Found:
    """A key as a file has it: its parts, of which none was looked at yet."""

    def __init__(self, name: str, algorithm: str, secret: str) -> None:
        self.name = name
        self.algorithm = algorithm
        self.secret = secret


def load(settings: DnsSettings) -> Key | None:
    """The key of the settings, None where they name none: updates are then not signed.

    Raises InvalidRequest E-DNS-KEY.
    """
    if settings.key_file is not None:
        return _from_file(settings.key_file, settings.key_name)
    if settings.key_name is None and settings.secret_key is None:
        return None
    if settings.key_name is None or settings.secret_key is None:
        lacks = "dnsKeyName" if settings.key_name is None else "dnsSecretKey"
        raise InvalidRequest(
            "E-DNS-KEY",
            f"[DhcpDns] {lacks} is not set",
            cause="a key has a name and a secret",
            hint="set both dnsKeyName and dnsSecretKey, or dnsKeyFile",
        )
    found = _Found(settings.key_name, settings.key_algorithm, settings.secret_key.value)
    try:
        return _made(found)
    except _Fault as fault:
        raise InvalidRequest(
            "E-DNS-KEY",
            "[DhcpDns] dnsKeyName, dnsSecretKey and dnsKeyAlgorithm are no key",
            cause=str(fault),
            hint="as the server has it: tsig-keygen prints one",
        ) from None


def _from_file(path: str, wanted: str | None) -> Key:
    path, content = _content(path)
    if content.status.st_mode & stat.S_IROTH:
        raise InvalidRequest(
            "E-DNS-KEY",
            f"others can read the key file {path}",
            cause="a key is readable by every user of this machine",
            hint=f"chmod 600 {shlex.quote(path)}; a new key if others were there",
        )
    try:
        text = content.data.decode("utf-8")
        return _made(_chosen(_keys_in(text, PurePath(path).name, wanted), wanted))
    except UnicodeDecodeError:
        cause = "it is no text"
    except _Fault as fault:
        cause = str(fault)
    raise InvalidRequest(
        "E-DNS-KEY",
        f"no key in {path}",
        cause=cause,
        hint="K*.private of dnssec-keygen, or what tsig-keygen prints, for [DhcpDns] dnsKeyFile",
    )


def _content(path: str) -> tuple[str, trust.Content]:
    """The file, or that beside it which BIND's tools would take, too, with its path."""
    candidates = [path]
    if _OLD_NAME.fullmatch(PurePath(path).name) and not path.endswith((".private", ".key")):
        candidates.append(f"{path}.private")
    for candidate in candidates:
        try:
            content = trust.read(candidate)
        except PermissionError as error:
            raise InvalidRequest(
                "E-DNS-KEY",
                f"you may not read the key file {candidate}",
                cause=error.strerror or "",
                hint="run as its owner, or name another file: [DhcpDns] dnsKeyFile",
            ) from error
        except InvalidRequest as error:
            raise InvalidRequest("E-DNS-KEY", error.what, cause=error.cause) from error
        if content is not None:
            return candidate, content
    raise InvalidRequest(
        "E-DNS-KEY",
        f"the key file {path} is not there",
        hint="[DhcpDns] dnsKeyFile names it; on this machine",
    )


def _keys_in(text: str, file_name: str, wanted: str | None) -> list[_Found]:
    if text.lstrip().startswith("Private-key-format:"):
        return [_private(text, file_name, wanted)]
    old = [
        _Found(m["name"], _by_number(m["number"]), m["secret"]) for m in _OLD_RECORD.finditer(text)
    ]
    return old or list(_statements(text))


def _private(text: str, file_name: str, wanted: str | None) -> _Found:
    """A `.private` file has no name in it: its own name has it."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "Algorithm" not in fields or "Key" not in fields:
        raise _Fault("it has no Algorithm and Key (of a key that is no HMAC?)")
    named = _OLD_NAME.fullmatch(file_name)
    name = named["name"] if named else wanted
    if name is None:
        raise _Fault("the key's name is that of the file, K<name>.+<number>+<id>.private")
    return _Found(name, _by_number(fields["Algorithm"].partition("(")[0]), fields["Key"])


def _by_number(number: str) -> str:
    try:
        return _NUMBERS[int(number)]
    except (KeyError, ValueError):
        known = ", ".join(f"{number} {name}" for number, name in _NUMBERS.items())
        raise _Fault(f"its algorithm is none for updates (known: {known})") from None


def _statements(text: str) -> Iterator[_Found]:
    """The key statements of a named.conf."""
    tokens = list(_tokens(text))
    for at, token in enumerate(tokens[:-2]):
        # `key "n";` elsewhere only names one.
        if token != "key" or tokens[at + 2] != "{":
            continue
        said: dict[str, str] = {}
        rest = iter(tokens[at + 3 :])
        for word in rest:
            if word == "}":
                break
            if word in ("algorithm", "secret"):
                said[word] = next(rest, "")
        if len(said) != 2:
            raise _Fault("a key without algorithm and secret")
        yield _Found(tokens[at + 1], said["algorithm"], said["secret"])


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if match["token"] is not None:
            yield match["token"] if match["quoted"] is None else match["quoted"]


def _chosen(found: list[_Found], wanted: str | None) -> _Found:
    if not found:
        raise _Fault("no form of key is known in it")
    if wanted is not None:
        name = _plain(wanted)
        chosen = next((key for key in found if _plain(key.name) == name), None)
        if chosen is None:
            have = ", ".join(_plain(key.name) for key in found)
            raise _Fault(f"dnsKeyName is {name}, and it has {have}")
        return chosen
    if len(found) > 1:
        have = ", ".join(_plain(key.name) for key in found)
        raise _Fault(f"it has the keys {have}: say by dnsKeyName which")
    return found[0]


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _made(found: _Found) -> Key:
    algorithm = _plain(found.algorithm)
    if algorithm == _MD5_IN_FULL:
        algorithm = "hmac-md5"
    if algorithm not in ALGORITHMS:
        raise _Fault(f"its algorithm is none of {', '.join(ALGORITHMS)}")
    try:
        # An escape or another alphabet is no name of a key.
        name = dns.name.from_text(_plain(found.name).encode("ascii").decode("ascii"))
    except (dns.exception.DNSException, UnicodeError):
        raise _Fault("its name is none of DNS") from None
    if name == dns.name.root:
        raise _Fault("it has no name")
    try:
        secret = base64.b64decode("".join(found.secret.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _Fault("its secret is no base64") from None
    if not secret:
        raise _Fault("its secret is empty")
    return Key(name, secret, ALGORITHMS[algorithm])
