"""What the host does with dnsmasq's folders, in POSIX sh and one awk for all entries.

All of it happens under a lock on the folder of leases. One awk reads both folders, decides entry by
entry in the order given, and writes the new files into a folder beside them whose name starts with
a dot, which dnsmasq leaves alone; it reads back what it wrote, since not every awk says that a disk
is full. Then one `rm` and one `mv` for all of them: each file is there whole or not at all.

What is read anew by itself are new files only (inotify): dnsmasq keeps what a host's file said
before it was changed or removed until SIGHUP, and takes no second one with that address until then.
So a removal or change ends with one HUP, and a mark that it is due lies there until it was sent.
"""

from __future__ import annotations

# The last word of a line may have blanks in it: it is the name of somebody else's file.
FILES = r"""
files() { for f in "$1"/*; do
  if [ -f "$f" ]; then printf '%s\n' "F $2 ${f##*/}"
  elif [ -e "$f" ] || [ -L "$f" ]; then printf '%s\n' "N $2 ${f##*/}"; fi; done; }
"""

# By what it watches, and not only by its pid file: another dnsmasq may run there (libvirt has one).
WATCHERS = r"""
is_dnsmasq() { c=; case $1 in ''|*[!0-9]*) return 1;; esac
  { read -r c <"/proc/$1/comm"; } 2>/dev/null; [ "$c" = dnsmasq ]; }
watchers() { # folder: pids of those that wait for its files
  x=$(printf %x "$(stat -c %i "$1")")
  for p in $(grep -lxs dnsmasq /proc/[0-9]*/comm | cut -d/ -f3); do
    cat /proc/"$p"/fdinfo/* 2>/dev/null | grep -q "^inotify wd:[0-9a-f]* ino:$x " && echo "$p"
  done; }
by_pid_file() { p=; { read -r p <"$PID"; } 2>/dev/null; ! is_dnsmasq "$p" || echo "$p"; }
"""

_ENTER = r"""
umask 022; T=.tashictl.new; DUE=.tashictl.hup
late() { now=$(date +%s); [ "$now" -le "$NOT_AFTER" ] || refuse late "$now"; }
late
for d in "$H" ${D:+"$D"}; do mkdir -p "$d" 2>/dev/null || refuse folder "$d"; done
{ command exec 9<"$H"; } 2>/dev/null || refuse folder "$H"
flock -w "$WAIT" 9 || refuse busy "$H"
late
fresh() { rm -rf "$H/$T" ${D:+"$D/$T"} && mkdir "$H/$T" ${D:+"$D/$T"}; }
"""

# `cur` is what each file says, by "H name" or "D name"; `held` are the files that have a MAC,
# address or name; `was` is what a file said that is touched. H are hosts (leases), D names (DNS).
_PLAN = r"""
plan() { { files "$H" H; [ -z "$D" ] || files "$D" D; printf '%s\n' "$ENTRIES"
} | H=$H D=$D T=$T FULL=$FULL awk '
function mac(t,   g, k, o) {
  sub(/^[0-9a-f][0-9a-f]?-/, "", t); if (split(t, g, ":") != 6) return ""
  for (k = 1; k <= 6; k++) { if (g[k] !~ /^[0-9a-f][0-9a-f]?$/) return ""
    o = o (k > 1 ? ":" : "") (length(g[k]) < 2 ? "0" : "") g[k] }
  return o }
function plain(g) { sub(/^0+/, "", g); return (g == "" ? "0" : g) ":" }
function ip(t,   h, a, b, l, r, k, o) { # an IPv6 address in its long form, without zeros ahead
  if (t !~ /:/) return t
  k = split(t, h, "::"); l = split(h[1], a, ":"); r = k > 1 ? split(h[2], b, ":") : 0
  for (k = 1; k <= l; k++) o = o plain(a[k])
  for (k = l + r; k < 8; k++) o = o "0:"
  for (k = 1; k <= r; k++) o = o plain(b[k])
  return o }
function key(what, value) { K[++NK] = what " " value }
function host(l,   w, n, k, t) { # a line of the folder of hosts
  n = split(l, w, ",")
  for (k = 1; k <= n; k++) { t = w[k]; gsub(/[ \t\r]/, "", t); t = tolower(t)
    if (mac(t) != "") key("MAC", mac(t))
    else if (t ~ /^\[[0-9a-f:.]+\]$/) key("address", ip(substr(t, 2, length(t) - 2)))
    else if (t ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) key("address", t)
    else if (t ~ /^[0-9a-z_.-]+$/) key("name", t) } }
function address(l,   w, n, k, t) { # a line of the folder of names
  sub(/#.*/, "", l); n = split(l, w, /[ \t\r]+/)
  for (k = w[1] == "" ? 2 : 1; k <= n; k++) { t = tolower(w[k]); sub(/\.$/, "", t)
    if (t == "") continue
    if (t ~ /:/ || t ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) key("address", ip(t))
    else key("name", t) } }
function keys(f, text,   l, n, k) { NK = 0; n = split(text, l, "\n")
  for (k = 1; k <= n; k++) if (l[k] !~ /^[ \t]*(#|$)/)
    if (f ~ /^H/) host(l[k]); else address(l[k]) }
function hold(f,   k) { keys(f, cur[f])
  for (k = 1; k <= NK; k++) held[(f ~ /^H/), K[k]] = held[(f ~ /^H/), K[k]] f "\n" }
function free(f,   k, i, s) { keys(f, cur[f])
  for (k = 1; k <= NK; k++) { s = held[(f ~ /^H/), K[k]]
    while (i = index("\n" s, "\n" f "\n")) s = substr(s, 1, i - 1) substr(s, i + length(f) + 1)
    held[(f ~ /^H/), K[k]] = s } }
function owner(f,   o) { o = cur[f]; sub(/\n.*/, "", o)
  return o ~ /^# tashictl:[!-~]+$/ ? substr(o, 3) : "-" }
function set(f, text) {
  if (!(f in was)) was[f] = f in cur ? cur[f] : ""
  if (f in cur) { free(f); delete cur[f] }
  if (text != "") { cur[f] = text; hold(f) } else gone[f] = 1 }
function against(f, text, own,   k, n, x, i) { # what stands against it, "" for nothing
  if (f in cur && owner(f) != own) return "foreign " owner(f) " " f
  keys(f, text)
  for (k = 1; k <= NK; k++) { n = split(held[(f ~ /^H/), K[k]], x, "\n")
    for (i = 1; i <= n; i++) if (x[i] != "" && x[i] != f)
      return "taken " K[k] " " owner(x[i]) " " x[i] }
  return "" }
function add(h, d, own, line, fqdn,   a, n, k, t, why) {
  if (ENVIRON["D"] != "" && fqdn != "-") { n = split(line, a, ","); t = "# " own "\n"
    for (k = 2; k < n; k++) { gsub(/[][]/, "", a[k]); t = t a[k] " " fqdn "\n" } }
  line = "# " own "\n" line "\n"
  why = against(h, line, own); if (why == "" && t != "") why = against(d, t, own)
  if (why != "") return why
  why = "same"
  if (!(h in cur) || cur[h] != line) { set(h, line); why = "done" }
  if (t != "" ? !(d in cur) || cur[d] != t : (d in cur) && owner(d) == own) {
    set(d, t); why = "done" }
  return why }
function remove(h, d, own,   why) { why = "gone"
  if ((h in cur) && owner(h) == own) { set(h, ""); why = "done" }
  if ((d in cur) && owner(d) == own) { set(d, ""); why = "done" }
  return why }
function store(f,   p, l, s) { # 0 when it cannot be written whole
  p = ENVIRON[substr(f, 1, 1)] "/" ENVIRON["T"] "/" substr(f, 3)
  printf "%s", cur[f] >p; close(p)
  while ((getline l <p) > 0) s = s l "\n"
  close(p); return s == cur[f] }
$1 == "F" { f = substr($0, 3); t = ""
  p = ENVIRON[$2] "/" substr(f, 3); while ((getline l <p) > 0) t = t l "\n"; close(p)
  cur[f] = t; hold(f); next }
$1 == "N" { cur[substr($0, 3)] = ""; next }
$1 == "A" { said[++many] = "R " $2 " " add("H " $3, "D " $3, $4, $5, $6); adds[many] = 1; next }
$1 == "X" { said[++many] = "R " $2 " " remove("H " $3, "D " $3, $4) }
END {
  for (f in was) { t = f in cur ? cur[f] : ""
    if (t == was[f]) continue
    if (was[f] != "") due = 1
    if (t == "" || (ENVIRON["FULL"] && (f in gone) && was[f] != "")) print "-" f
    else if (!ENVIRON["FULL"] && !store(f)) exit 1 }
  if (due) print "due"
  for (k = 1; k <= many; k++) {
    if (ENVIRON["FULL"] && adds[k]) sub(/ done$/, " full", said[k])
    print said[k] }
}'; }
"""

_CARRY_OUT = r"""
FULL=; { fresh && P=$(plan); } 2>/dev/null || { FULL=1; P=$(plan) || refuse folder "$H"; }
removed() { # of a folder
  printf '%s\n' "$P" | sed -n "s|^-$2 |./|p" | (cd "$1" && xargs rm -f) 2>/dev/null \
    || refuse folder "$1"; }
moved() { # into a folder; what is on its disk first
  (t=$1; cd "$t/$T" || exit 1; set -- *; [ -e "$1" ] || exit 0
    sync -f . || sync; exec mv -f "$@" "$t/") 2>/dev/null || refuse folder "$1"; }
case "
$P
" in *"
due
"*) (: >"$H/$DUE") 2>/dev/null; hup=1;; *) hup=; [ ! -e "$H/$DUE" ] || hup=1;; esac
removed "$H" H; [ -z "$D" ] || removed "$D" D
if [ -z "$FULL" ]; then [ -z "$D" ] || moved "$D"; moved "$H"; fi
rm -rf "$H/$T" ${D:+"$D/$T"} 2>/dev/null
if [ -n "$hup" ]; then
  w=$(watchers "$H"); [ -n "$w" ] || w=$(by_pid_file)
  # shellcheck disable=SC2086
  if [ -n "$w" ] && kill -HUP $w 2>/dev/null; then rm -f "$H/$DUE"; fi
fi
say B entries; printf '%s\n' "$P" | sed -n 's/^R //p'
"""

CHANGE = FILES + WATCHERS + _ENTER + _PLAN + _CARRY_OUT
