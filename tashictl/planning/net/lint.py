"""Network files are held against the host's own tools before anything is done with them."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.net import HostFile

# ifquery reads a file as ifup would; it prints what it does not understand, and carries on.
WORDS = r"""
lint_interfaces() { # file, its place on the host
  command -v ifquery >/dev/null || return 0
  said=$({ ifquery -i "$1" --list --allow=auto; ifquery -i "$1" --list; } 2>&1 >/dev/null)
  [ -z "$said" ] || { rm -rf "$W"; no lint "$2 is not accepted by ifquery: $(echo "$said" \
    | head -n 3 | sed "s#$1#$2#g" | tr '\n' ' ')"; }; }
lint_sh() { said=$(sh -n "$1" 2>&1) || { rm -rf "$W"; no lint "$2 is no shell script: $said"; }; }
"""


def commands(files: Iterable[HostFile]) -> list[str]:
    """Commands that check the files where they lie, as ``$W/new.N``; they need WORDS."""
    found = []
    for number, file in enumerate(files, 1):
        if file.text is None:
            continue
        if file.path.startswith("/etc/network/interfaces"):
            found.append(f'lint_interfaces "$W/new.{number}" {file.path}')
        elif "/qemu-if" in file.path:
            found.append(f'lint_sh "$W/new.{number}" {file.path}')
    return found
