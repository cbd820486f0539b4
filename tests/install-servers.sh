#!/usr/bin/env bash
# Installs the real servers the tests run against (Debian/Ubuntu), or names what is missing. Arguments: more programs,
# each in the package of its name.
set -euo pipefail

declare -A package=([redis-server]=redis-server [postgres]=postgresql [node]=nodejs [npm]=npm [nginx]=nginx [gcc]=gcc
  [systemd-analyze]=systemd [promtool]=prometheus
  [chromium]="chromium fonts-dejavu-core fonts-wqy-microhei")
for program in "$@"; do package[$program]=$program; done
missing=()
for program in "${!package[@]}"; do
  PATH="$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')" command -v "$program" >/dev/null \
    || missing+=(${package[$program]})
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
if command -v apt-get >/dev/null && $sudo true 2>/dev/null; then
  echo "installing: ${missing[*]}"
  $sudo apt-get update -qq
  # policy-rc.d keeps Debian from starting system-wide servers: the tests start their own.
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "The tests need these packages, and this account may not install them: ${missing[*]}" >&2
  echo "Remedy: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
