"""The bare transport as a program of its own: one round over hosts, as the sweep makes it.

`python -m bench.floor HOSTS KNOWN_HOSTS [SCRIPT]`: HOSTS is a JSON list of host configurations,
SCRIPT a JSON file of {text, nonce} (without it: `true`). Nothing is decided or written down.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tashictl.adapters.ssh.remote import SshRemote
from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script

TIMEOUT_S = 60


def main() -> int:
    """Do the round; 1 with what went wrong unless every host has answered with exit status 0."""
    hosts = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=list[HostConfig])
    script = Script(text="true", nonce="", changing=False, timeout_s=TIMEOUT_S)
    if len(sys.argv) > 3:
        raw = msgspec.json.decode(Path(sys.argv[3]).read_bytes(), type=dict[str, str])
        script = msgspec.structs.replace(script, text=raw["text"], nonce=raw["nonce"])
    wrong: list[tuple[str, Reply]] = []

    def take(host: HostConfig, reply: Reply) -> None:
        if reply.fault is not None or reply.rc != 0:
            wrong.append((host.name, reply))

    remote = SshRemote(Path(sys.argv[2]), use_agent=False)
    try:
        remote.sweep(hosts, lambda _host: script, float(TIMEOUT_S), take)
    finally:
        remote.close()
    if wrong:
        print(f"{len(wrong)} of {len(hosts)} went wrong, the first: {wrong[0]}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
