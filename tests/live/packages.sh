#!/bin/sh
# Install what the lab needs: all at once, only what is missing. Without apt-get, or not as root,
# say what to install and go on: the live tests then skip and say which part is missing.
# The lab starts its servers itself: those of a package are not started, now or at the next boot.
cd "$(dirname "$0")" || exit 1
missing=
for package in python3-venv gcc spin $(grep -v '^#' lab/packages.txt); do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' \
    || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  fi
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null || exit 1
  for service in bind9:named isc-dhcp-server:isc-dhcp-server; do
    case "$missing " in *" ${service%:*} "*) update-rc.d "${service#*:}" disable >/dev/null 2>&1 ;; esac
  done
else
  echo "missing:$missing   (as root: apt-get install$missing)" >&2
fi
