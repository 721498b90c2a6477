[ -n "$C" ] || die 'no cluster'
for d in "$L/$C"/*-*-*-*-*; do [ ! -d "$d" ] || die "the folder of a VM is there: $d"; done
for d in "$R/$C"/*-*-*-*-*; do ! locked "$d/run.lock" || die "a VM runs there: $d"; done
for f in /etc/qemu-ifup.*; do
  [ ! -f "$f" ] || ! grep -qF '# rendered by tashictl' "$f" || rm -f -- "$f" || exit 1
done
w=$(readlink -f "$D" 2>/dev/null)
for i in ; do
  f=$D/$i; d=${f%/*}
  [ -d "$d" ] || continue
  case $(readlink -f "$d")/ in "$w"/*) ;; *) continue ;; esac
  rm -f -- "$f" || exit 1
  while [ "$d" != "$D" ] && rmdir "$d" 2>/dev/null; do d=${d%/*}; done
done
if [ yes = no ]; then
  rmdir "$D" 2>/dev/null && rmdir "${D%/*}" 2>/dev/null
  [ ! -d "$D" ] || echo "$D holds files that are not the cluster's"
fi
rm -rf -- "$R/$C" "$L/$C" && rm -f "$L/cluster" "$L/cluster.lock" || exit 1
rmdir "$R" "$L" 2>/dev/null
exit 0
