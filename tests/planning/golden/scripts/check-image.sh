[ -e /var/lib/tashi/shared/images/data.img ] || die "no image "/var/lib/tashi/shared/images/data.img
within /var/lib/tashi/shared/images/data.img /var/lib/tashi/shared/images \
  || die /var/lib/tashi/shared/images/data.img" leads out of the image folder"
Q=; if [ "$(id -u)" = 0 ] && id -u tashi-qemu >/dev/null 2>&1; then Q=tashi-qemu; fi
as_q() { setpriv --reuid="$Q" --regid="$Q" --init-groups "$@"; }
usable() { as_q test -r "$1" && { [ "$2" = r ] || as_q test -w "$1"; }; }
lend() { # folder file r|rw
  [ -n "$Q" ] && ! usable "$2" "$3" 2>/dev/null || return 0
  d=${2%/*}; while [ "$d" != "$1" ] && [ -n "$d" ]; do chmod a+x "$d" || return 1; d=${d%/*}; done
  chmod a+x "$1" && chgrp "$Q" "$2" && chmod "g+$3" "$2"
  o=$(usable "$2" "$3" 2>&1) || die "$Q may not use $2, or not pass to it: host setup opens the \
folders above it${o:+; $o}"; }
lend /var/lib/tashi/shared/images /var/lib/tashi/shared/images/data.img rw || exit 1
