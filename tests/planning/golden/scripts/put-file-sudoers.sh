noted() { grep -qsxF -- "$1" "$L/setup" && return 0
  mkdir -p "$L" && printf '%s\n' "$1" >>"$L/setup" || die "$L/setup cannot be written"; }
f=/etc/sudoers.d/tashictl; p=/etc/sudoers.d/tashictl.part
if [ -e "$f" ] && ! grep -qF '# ours' "$f"; then echo "the operator's own file"; exit 0; fi
noted "file $f"; [ -d "${f%/*}" ] || noted "folder ${f%/*}"
mkdir -p "${f%/*}" && (umask 077; printf '%s\n' '# ours
ops ALL=(root) NOPASSWD: ALL' | cat >"$p") && chmod 440 "$p" \
  || { rm -f "$p"; exit 1; }
visudo -cqf "$p" 2>&1 || { rm -f "$p"; die "visudo refuses it, so $f is as it was"; }
sync "$p" && mv -f "$p" "$f" || { rm -f "$p"; exit 1; }
