"""What `doctor` asks of a host beside what `host check` does: a part of the same script."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tashictl.model.network import Network
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning import facts
from tashictl.planning.shell import assign

LIMIT_S = 5  # for each thing that is asked and may hang
IFUP_BYTES = 16384  # of a file that is compared; ours have some hundred

# `modprobe -n` loads nothing. `iptables` may be the old one, which loads its modules when it is
# asked: so only where its table is there already, or where there is no nft and a filter sees
# guests' frames, which docker or a firewall has seen to.
SCRIPT = r"""
say B doctor
limited() { timeout "$LIMIT_S" "$@" 2>/dev/null; }
word() { x=; { read -r x <"$2"; } 2>/dev/null; [ -z "$x" ] || echo "$1 $x"; }
word ip_forward /proc/sys/net/ipv4/ip_forward
word ip6_forward /proc/sys/net/ipv6/conf/all/forwarding
word nf_iptables /proc/sys/net/bridge/bridge-nf-call-iptables
word nf_ip6tables /proc/sys/net/bridge/bridge-nf-call-ip6tables
word apparmor /sys/module/apparmor/parameters/enabled
awk '/^(SwapTotal|SwapFree):/ {sub(/:/, "", $1); print tolower($1) "_kib " $2}' /proc/meminfo
if [ -e /proc/net/vlan/config ] || [ -d /sys/module/8021q ]; then echo "vlan loaded"
elif ! command -v modprobe >/dev/null; then echo "vlan unknown"
elif limited modprobe -n -q 8021q; then echo "vlan loadable"
else echo "vlan absent"; fi
say B profiles
limited grep -e qemu -e libvirt -e kvm /sys/kernel/security/apparmor/profiles | head -n 100
say B sshd
s=effective; c=$(limited sshd -T) || { s=files
  c=$(cat /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config 2>/dev/null); }
[ -z "$c" ] || { echo "by $s"; printf '%s\n' "$c" | awk '{ k = tolower($1) }
  k == "match" { exit }
  k ~ /^(allowstreamlocalforwarding|disableforwarding|maxsessions|maxstartups)$/ {
    print k, tolower($2) }'; }
say B links # by its path, since busybox prefers an `ip` of its own, which speaks no JSON
for i in /usr/sbin/ip /sbin/ip /usr/bin/ip /bin/ip; do [ -x "$i" ] || continue
  limited "$i" -j -d addr show; break; done
say B firewall
command -v nft >/dev/null || command -v iptables >/dev/null || echo "by nothing"
nf4=$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)
nf6=$(cat /proc/sys/net/bridge/bridge-nf-call-ip6tables 2>/dev/null)
nft=; if command -v nft >/dev/null && r=$(limited nft list ruleset); then nft=1; echo "by nft"
  printf '%s\n' "$r" | awk '$1 == "table" { f = $2; t = $3; h = 0; next }
    $1 == "chain" { c = $2; h = 0; next }
    / hook forward / { h = 1; p = "accept"; if (match($0, /policy [a-z]+/))
      p = substr($0, RSTART + 7, RLENGTH - 7); print "chain", f, t, c, p; next }
    $1 == "}" { h = 0 }
    h { sub(/^[ \t]+/, ""); print "rule", $0 }' | head -n 200; fi
old() { # family program names-file on
  command -v "$2" >/dev/null || return 0
  if ! grep -qsx filter "$3"; then [ -z "$nft" ] && [ "$4" = 1 ] || return 0; fi
  r=$(limited "$2" -S FORWARD) || return 0
  echo "by $2"; printf '%s\n' "$r" | awk -v f="$1" '
    $1 == "-P" { print "chain", f, "filter", $2, tolower($3); next }
    $1 == "-A" { print "rule", $0 }' | head -n 200; }
old ip iptables /proc/net/ip_tables_names "$nf4"
old ip6 ip6tables /proc/net/ip6_tables_names "$nf6"
for n in $IFUPS; do f=$ETC/qemu-ifup.$n; say B ifup "$n"
  if [ ! -e "$f" ]; then echo absent; continue; fi
  [ -x "$f" ] && echo executable
  echo "mode $(stat -L -c '%a %u' "$f" 2>/dev/null)"
  echo "text"; limited head -c "$IFUP_BYTES" "$f"; echo .
done
"""


class Ask(Struct, frozen=True, kw_only=True):
    """What one host is asked; `networks` are those that it carries."""

    settings: Settings
    cpu: str
    networks: tuple[Network, ...] = ()


def script(ask: Ask, nonce: str) -> Script:
    """The script for one host, with all of `host check`; it changes nothing."""
    settings = ask.settings
    values = assign(
        ETC=settings.tashictl.etc_dir,
        IFUPS=" ".join(str(n.id) for n in wired(ask.networks)),
        LIMIT_S=LIMIT_S,
        IFUP_BYTES=IFUP_BYTES,
    )
    return facts.script(facts.Probe(settings=settings, cpu=ask.cpu, more=values + SCRIPT), nonce)


def wired(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The networks that a TAP is bridged to."""
    return tuple(n for n in networks if n.mode != "user" and n.bridge is not None)
