noted() { grep -qsxF -- "$1" "$L/setup" && return 0
  mkdir -p "$L" && printf '%s\n' "$1" >>"$L/setup" || die "$L/setup cannot be written"; }
if ! id -u tashi-qemu >/dev/null 2>&1; then
  noted 'user 'tashi-qemu
  g=-U; if grep -q '^'tashi-qemu: /etc/group; then g='-g 'tashi-qemu; fi
  s=$(command -v nologin || command -v false)
  useradd -r $g -M -d /nonexistent -s "$s" -c 'QEMU, by tashictl' tashi-qemu || exit 1
fi
