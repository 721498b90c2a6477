"""Keys for updates and OMAPI, as files in each form that is met in the field.

key = Key.generate("tashi", "hmac-md5")     # or hmac-sha256
key.name, key.algorithm, key.secret         # the secret in base64
key.write_conf(folder)                      # what tsig-keygen writes: key "tashi" {…};
key.write_pair(folder)                      # Ktashi.+157+12345.private, with its .key
key.write_secret(folder)                    # the base64 alone
"""

import base64
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tashictl.adapters.demo import parts

_NUMBERS = {"hmac-md5": 157, "hmac-sha1": 161, "hmac-sha256": 163, "hmac-sha512": 165}


@dataclass(frozen=True, slots=True)
class Key:
    """A key that two sides share."""

    name: str
    algorithm: str
    secret: str

    @classmethod
    def generate(cls, name: str, algorithm: str = "hmac-sha256") -> Self:
        """A new one, by tsig-keygen."""
        argv = ["tsig-keygen", "-a", algorithm, name]
        env = {"PATH": parts.SBIN}
        made = subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout
        found = re.search(r'secret "([^"]+)"', made)
        assert found is not None, made
        return cls(name, algorithm, found[1])

    @property
    def conf(self) -> str:
        """What tsig-keygen prints."""
        lines = f'\talgorithm {self.algorithm};\n\tsecret "{self.secret}";\n'
        return f'key "{self.name}" {{\n{lines}}};\n'

    def write_conf(self, folder: Path) -> Path:
        """NAME.conf, as for `include` in named.conf."""
        return _write(folder / f"{self.name}.conf", self.conf)

    def write_pair(self, folder: Path) -> Path:
        """Two files as dnssec-keygen once made them; gives the `.private` one."""
        number = _NUMBERS[self.algorithm]
        stem = f"K{self.name}.+{number}+{self._tag():05d}"
        kind = self.algorithm.upper().replace("-", "_")
        _write(folder / f"{stem}.key", f"{self.name}. IN KEY 512 3 {number} {self.secret}\n")
        private = (
            f"Private-key-format: v1.3\nAlgorithm: {number} ({kind})\n"
            f"Key: {self.secret}\nBits: AAA=\n"
        )
        return _write(folder / f"{stem}.private", private)

    def write_secret(self, folder: Path) -> Path:
        """NAME.secret: the base64 and a new line."""
        return _write(folder / f"{self.name}.secret", f"{self.secret}\n")

    def _tag(self) -> int:
        """The key tag of RFC 4034, appendix B."""
        data = b"\x02\x00\x03" + bytes([_NUMBERS[self.algorithm]]) + base64.b64decode(self.secret)
        data += b"\0" * (len(data) % 2)
        total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
        return (total + (total >> 16)) & 0xFFFF


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path
