A=10.9.0.7; I=vmbr.9; M=52:54:00:01:00:01; NET='it'"'"'s red'
ip link show dev "$I" >/dev/null 2>&1 || { echo "$A not asked for: no $I here"; exit 0; }
there() { # who answers
  [ -z "$1" ] || [ "$1" = "$M" ] || die "$A on $NET is in use: $1 answers"; }
by_arp() {
  case $A in *:*) return 1;; esac
  if command -v arping; then set -- arping; else set -- busybox arping; fi >/dev/null
  said=$("$@" -D -c 2 -w 2 -I "$I" "$A" 2>&1)
  m=$(printf '%s\n' "$said" | awk -F '[][]' '/reply from/ { n = split(tolower($2), b, ":")
    for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? ":" : ""), (length(b[i]) < 2 ? "0" : "") b[i]
    exit }')
  [ -n "$m" ] || case $said in *"Received 0 "*) ;; *) return 1;; esac; }
by_ping() {
  case $A in *:*) v=6;; *) v=4;; esac
  ip -o "-$v" addr show dev "$I" 2>/dev/null | grep -qv ' scope link' || return 1
  if command -v ping; then set -- ping; else set -- busybox ping; fi >/dev/null
  ip neigh del "$A" dev "$I" 2>/dev/null
  "$@" "-$v" -n -c 1 -W 1 -I "$I" "$A" >/dev/null 2>&1
  case $? in 0) r=somebody;; 1) r=;; *) return 1;; esac
  m=$(ip neigh show "$A" dev "$I" | grep -v -e FAILED -e INCOMPLETE \
    | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p'); m=${m:-$r}; }
if by_arp || by_ping; then there "$m"
else echo "$A not asked for: no arping here, and no ping from an address of $I"; fi
