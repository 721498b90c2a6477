"""What systemd-networkd is told while a change is in flight, as POSIX sh and as words for people.

Files that it shall take at once are lent to it under /run, where a reboot loses them, by names that
go before all others: a file in /etc hides its namesake in /run, and the first by name wins.
"""

from __future__ import annotations

from tashictl.model.net_change import AskNetworkd, TellNetworkd, UntellNetworkd
from tashictl.planning.shell import quote

LENT = "/run/systemd/network/04-tashi-"  # before 05-tashi-

# networkd runs as a user of its own, and must be able to read what is lent. It takes over a bridge
# that is there, but counts on it only when it hears of it: `alias` says nothing new, and is heard.
WORDS = rf"""
networkd_told() {{ # paths of new files
  : >"$P/told" || return 1
  [ -d /run/systemd/network ] || mkdir -m 755 /run/systemd/network || return 1
  for f; do
    n=$(awk -v f="$f" '{{sub(/^[^ ]* /, "")}} $0 == f {{print NR}}' "$P/files")
    x={LENT}${{f##*/05-tashi-}}
    cat "$P/new.$n" >"$x" && chmod 644 "$x" || return 1
  done
  networkctl reload || return 1
  for f; do
    case $f in *.netdev) x=${{f##*/05-tashi-}}; ip link set dev "${{x%.netdev}}" alias '' ;; esac
  done; }}
networkd_untold() {{ [ ! -e "$P/told" ] || {{ rm -f {LENT}*; networkctl reload; }}; }}
networkd_has() {{ # interface: whether a lease is there, and its address on it
  [ -z "$(ip -4 -o addr show dev "$1" scope global dynamic 2>/dev/null)" ] || return 0
  a=/run/systemd/netif/leases/$(cat "/sys/class/net/$1/ifindex" 2>/dev/null)
  a=$(sed -n 's/^ADDRESS=//p' "$a" 2>/dev/null)
  [ -n "$a" ] && ip -4 -o addr show dev "$1" | grep -qF " $a/"; }}
networkd_leased() {{ # interface, seconds
  i=$(($2 * 2))
  until networkd_has "$1"; do
    [ "$i" -gt 0 ] || {{ echo "networkd got no lease for $1 within $2 s"; return 1; }}
    i=$((i-1)); sleep 0.5
  done; }}
networkd_rests() {{ # interface: until it is done with it, 10 s at most
  i=20; s=/run/systemd/netif/links/$(cat "/sys/class/net/$1/ifindex" 2>/dev/null)
  while grep -qxE 'ADMIN_STATE=(pending|initialized|configuring)' "$s" 2>/dev/null; do
    [ "$i" -gt 0 ] || return 0; i=$((i-1)); sleep 0.5
  done; }}
networkd_asked() {{ # interface, seconds: its own first try may have gone nowhere
  [ -e "$P/told" ] || return 0
  networkd_leased "$1" 3 >/dev/null \
    || {{ networkctl reconfigure "$1" && networkd_leased "$1" "$2"; }} || return 1
  networkd_rests "$1"; }}
"""


def command(change: TellNetworkd | UntellNetworkd | AskNetworkd) -> str:
    """The command line for one change; it needs WORDS."""
    match change:
        case TellNetworkd(paths=paths, devices=devices, leased=leased, wait_s=wait_s):
            told = " ".join(("networkd_told", *map(quote, paths)))
            waits = [f"networkd_leased {quote(d)} {wait_s}" for d in leased]
            return " && ".join((told, *waits, *(f"networkd_rests {quote(d)}" for d in devices)))
        case UntellNetworkd():
            return "networkd_untold"
        case AskNetworkd(device=device, wait_s=wait_s):
            return f"networkd_asked {quote(device)} {wait_s}"


def words(change: TellNetworkd | UntellNetworkd | AskNetworkd) -> str:
    """One change as a person reads it."""
    match change:
        case TellNetworkd(devices=devices, leased=leased):
            lease = f", asks for the lease of {', '.join(leased)}" if leased else ""
            return f"~ networkd sets up {', '.join(devices)}{lease}"
        case UntellNetworkd():
            return "~ networkd goes by the files under /etc again"
        case AskNetworkd(device=device):
            return f"~ networkd asks for the lease of {device} again"
