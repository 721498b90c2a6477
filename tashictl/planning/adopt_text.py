"""How a QEMU that was started by hand is taken in, and let go again, as POSIX sh."""

from __future__ import annotations

from tashictl.model.steps import AdoptQemu
from tashictl.planning.launch import UNIT, mark_for
from tashictl.planning.shell import quote

# It looks each second, with nothing but the shell: a QEMU that its parent does not wait for stays
# as a zombie, for which `tail --pid` would wait for ever. Its sleep must not hold the lock.
_KEEPER = r"""# Made by tashictl: holds run.lock until a QEMU that it did not start has ended.
R={run}
cd /; exec 8>>"$R/run.lock"; flock -w 2 8 || exit 75
echo "$$" >"$R/keep.pid"
lives() {{ {{ read -r s <"/proc/{pid}/stat"; }} 2>/dev/null || return 1
  set -- ${{s##*) }}; case $1 in Z|X) return 1;; esac; [ "${{20}}" = {starttime} ]; }}
while lives; do sleep 1 8>&-; done"""

_ADOPT = r"""p={pid}
[ "$(start_time "$p" 2>/dev/null)" = {starttime} ] && is_ours "$p" \
  || die "the process $p has ended, or is another one"
[ -S {socket} ] || die 'its QMP socket is not there: '{socket}
mkdir -p "$R" && chmod 2750 "$R" && chmod 711 "${{R%/*}}" "${{R%/*/*}}" || exit 1
[ -z "$SUDO_GID" ] || chgrp "$SUDO_GID" "$R"
echo "$p" >"$R/qemu.pid" && rm -f "$R/qmp.sock" && ln -s {socket} "$R/qmp.sock" || exit 1
if ! alive; then
  cat >"$R/keep" <<'{mark}' || exit 1
{keeper}
{mark}
  if managed; then
    no_unit
    systemd-run --quiet --collect --unit="$unit" --slice=machine.slice \
      --description="tashictl VM $U, started by hand" -p WorkingDirectory="$R" \
      /bin/sh ./keep 2>&1 || die "systemd did not start $unit"
  else setsid sh "$R/keep" 9>&- </dev/null >/dev/null 2>&1 &
  fi
  i=0; until alive; do
    [ "$i" -lt 100 ] || die 'nobody holds run.lock'
    sleep 0.05; i=$((i+1))
  done
fi
say D pid "$p"; say D starttime {starttime}
say D boot_id "$(cat /proc/sys/kernel/random/boot_id)" """

# Only what an adoption has made, by name: nothing below the folders is removed as a whole.
_LET_GO = r"""keepers() { # by what they run; whoever looks for them is told apart
  for k in $(cat "$R/keep.pid" 2>/dev/null) \
    $(grep -lsaF "$R/keep" /proc/[0-9]*/cmdline | cut -d/ -f3); do
    case $({ tr '\0' ' ' <"/proc/$k/cmdline"; } 2>/dev/null) in *"sh $R/keep ") echo "$k";; esac
  done; }
if managed; then
  systemctl kill -s KILL "$unit" 2>/dev/null; no_unit
fi
for k in $(keepers); do kill -KILL "$k" 2>/dev/null; done
i=0; while alive; do
  [ "$i" -lt 50 ] || die 'run.lock is held by another process'
  sleep 0.1; i=$((i+1))
done
for f in qemu.pid qmp.sock keep keep.pid run.lock; do rm -f "$R/$f" || exit 1; done
[ ! -d "$R" ] || rmdir "$R" || exit 1
rm -f "$D/manifest.json" "$D/manifest.json.part" || exit 1
[ ! -d "$D" ] || rmdir "$D" """


def adopt(step: AdoptQemu) -> str:
    """Make the run folder of a QEMU that runs, and a keeper that holds its lock as long as it."""
    keeper = _KEEPER.format(run=quote(step.run_folder), pid=step.pid, starttime=step.starttime)
    return UNIT + _ADOPT.format(
        pid=step.pid,
        starttime=step.starttime,
        socket=quote(step.socket),
        keeper=keeper,
        mark=mark_for(keeper),
    )


def let_go() -> str:
    """Remove what `adopt` and the manifest before it have made."""
    return UNIT + _LET_GO
