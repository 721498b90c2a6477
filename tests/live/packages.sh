#!/bin/sh
# Install what the lab needs: all at once, only what is missing. Without apt-get, or not as root,
# say what to install and go on: the live tests then skip and say which part is missing.
cd "$(dirname "$0")" || exit 1
missing=
for package in python3-venv gcc spin $(grep -v '^#' lab/packages.txt); do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' \
    || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  echo "missing:$missing   (as root: apt-get install$missing)" >&2
fi
