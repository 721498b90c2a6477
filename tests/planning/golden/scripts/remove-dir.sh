if alive || qemu_pid >/dev/null; then die 'QEMU still runs'; fi
rm -rf "$R" || exit 1
[ -d "$D" ] || exit 0
for f in "$D"/* "$D"/.[!.]* "$D"/..?*; do
  [ "$f" = "$D/manifest.json" ] || rm -rf -- "$f" || exit 1
done
rm -f "$D/manifest.json" && rmdir "$D" 
