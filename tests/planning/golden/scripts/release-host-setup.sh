[ -n "$C" ] || die 'no cluster'
for d in "$L/$C"/*-*-*-*-*; do [ ! -d "$d" ] || die "the folder of a VM is there: $d"; done
for d in "$R/$C"/*-*-*-*-*; do ! locked "$d/run.lock" || die "a VM runs there: $d"; done
if [ -d "$R/net/pending" ] \
  && [ "$(cat "$R/net/pending/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  die "a change of the host's network is in flight: $(cat "$R/net/pending/stage")"
fi
for f in /etc/qemu-ifup.* /etc/qemu-ifdown; do
  [ ! -f "$f" ] || ! grep -qF '# rendered by tashictl' "$f" || rm -f -- "$f" || exit 1
done
noted() { grep -qsxF -- "$1" "$L/setup"; }
q=tashi-qemu
if noted "user $q" && id -u "$q" >/dev/null 2>&1; then
  if stat -c %u /proc/[0-9]* 2>/dev/null | grep -qx "$(id -u "$q")"; then
    echo "user $q stays, since a process runs as it"
  else
    o=$(userdel "$q" 2>&1) || die "$o"
    ! grep -q "^$q:" /etc/group || groupdel "$q" || exit 1
  fi
elif id -u "$q" >/dev/null 2>&1; then
  sed -n 's/^member //p' "$L/setup" 2>/dev/null | while read -r u g; do
    [ "$u" != "$q" ] || gpasswd -d "$u" "$g" >/dev/null 2>&1
  done
fi
p=$(sed -n 's/^package //p' "$L/setup" 2>/dev/null | tr '\n' ' ')
[ -z "$p" ] || echo "packages that setup installed: ${p% }"
made() { for f in /etc/modules-load.d/tashictl.conf /etc/sudoers.d/tashictl; do
  noted "file $f" && [ -f "$f" ] && grep -qF '# made by tashictl host setup' "$f" && { rm -f -- "$f" || exit 1; }
  ! noted "folder ${f%/*}" || rmdir "${f%/*}" 2>/dev/null
done; rm -f "$L/setup" || exit 1; }
w=$(readlink -f "$D" 2>/dev/null)
for i in ; do
  f=$D/$i; d=${f%/*}
  [ -d "$d" ] || continue
  case $(readlink -f "$d")/ in "$w"/*) ;; *) continue ;; esac
  rm -f -- "$f" || exit 1
  while [ "$d" != "$D" ] && rmdir "$d" 2>/dev/null; do d=${d%/*}; done
done
if [ no = no ]; then
  rmdir "$D" 2>/dev/null && rmdir "${D%/*}" 2>/dev/null
  [ ! -d "$D" ] || echo "$D holds files that are not the cluster's"
fi
for f in /etc/network/interfaces.d/tashi /etc/systemd/network/*-tashi-*.network; do
  [ ! -f "$f" ] || { echo "the host's network stays as it is, with ${f%/*}"; break; }
done
rm -rf -- "$R/net" "$L/net" "$R/$C" "$L/$C" && rm -f "$L/cluster" "$L/cluster.lock" || exit 1
made
rmdir "$R" "$L" 2>/dev/null
exit 0
