"""How a VM's QEMU is started, ended, and what a host's shutdown does to it, as POSIX sh.

Where systemd runs the host and we are root, each QEMU is a transient unit, ``tashi-<cluster>-
<uuid>``: it survives the login that made it, and its stop (a host's shutdown) presses the guest's
power button and waits. Elsewhere QEMU gets a session of its own. Both run the same small file of
the run folder, ``launch``, so that no argument passes through systemd, which expands ``$`` and
``%``.
"""

from __future__ import annotations

from tashictl.model.steps import KillQemu, StartQemu
from tashictl.planning import qemu_user
from tashictl.planning.shell import quote

_TERM_S = 10  # what QEMU may take to end after TERM, before it is killed

# What a stop of the unit does first. A button pressed before the guest listens is lost, hence
# again; `1<>` does not wait for a reader, which a QEMU that has just gone would never be.
_LAUNCH = r"""# Made by tashictl at each start of the VM.
R={run}
D={folder}
case $1 in
stop)
  i=0; while ! flock -n -s "$R/run.lock" true && [ "$i" -lt {stop_ticks} ]; do
    [ $((i % 10)) != 0 ] || echo system_powerdown 1<>"$R/monitor.in"
    sleep 0.5; i=$((i+1))
  done; exit 0;;
ended) echo "$EXIT_STATUS" >"$R/ended"; exit 0;;
start) exec 8>>"$R/run.lock"; flock -w 2 8 || {{ echo 75 >"$R/ended"; exit 75; }};;
esac
cd /; umask 007; exec </dev/null >>"$D/qemu.log" 2>&1
exec $AS "$QEMU" {argv}"""

# A unit that has ended is collected by systemd; one that stays is on its way up, or hangs.
UNIT = r"""unit="tashi-$C-$U.service"
managed() { [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null; }
no_unit() {
  j=0; while [ "$(systemctl show -p LoadState --value "$unit")" = loaded ]; do
    [ "$j" != 20 ] || systemctl kill -s KILL "$unit" 2>/dev/null
    [ "$j" -lt 100 ] || die "the unit $unit does not end"
    sleep 0.1; j=$((j+1))
  done; }
"""

# The login user reaches the sockets through its group; the folders above only let it pass.
_START = r"""mkdir -p "$R" && chmod 2750 "$R" && chmod 711 "${{R%/*}}" "${{R%/*/*}}" || exit 1
[ -z "$SUDO_GID" ] || chgrp "$SUDO_GID" "$R"
if alive; then
  p=$(qemu_pid) || die 'run.lock is held, but no QEMU of this VM is to be found'
  if [ -n "$Q" ]; then
    i=0; until bound || [ "$i" -ge {ticks} ]; do sleep 0.02; i=$((i+1)); done
    from_qemu || exit 1
  fi
  say D pid "$p"; echo 'runs already'; exit 0
fi
QEMU=; for b in {binaries}; do QEMU=$(command -v "$b") && break; done
[ -n "$QEMU" ] || die "no QEMU is installed (looked for" {binaries}")"
for f in qmp.sock serial.sock vnc.sock qemu.pid monitor.in monitor.out ended; do
  rm -f "$R/$f" || exit 1
done
umask 007; exec 8>>"$R/run.lock"; flock -w 2 8 || die 'run.lock is held by another process'
mkfifo "$R/monitor.in" && ln -s /dev/null "$R/monitor.out" || exit 1
cat >"$R/launch" <<'{mark}' || exit 1
{launch}
{mark}
AS=; if [ -n "$Q" ]; then
  AS="setpriv --reuid=$Q --regid=$Q --init-groups --no-new-privs"
  {lent} || exit 1
  to_qemu || exit 1
fi
{kvm}if managed; then
  exec 8>&-; no_unit
  systemd-run --quiet --collect --unit="$unit" --slice=machine.slice \
    --description="tashictl VM $U" --setenv=QEMU="$QEMU" --setenv=AS="$AS" \
    -p WorkingDirectory="$R" -p KillMode=mixed -p TimeoutStopSec={stop_s} \
    -p After=network.target -p After=remote-fs.target \
    -p 'ExecStop=/bin/sh ./launch stop' -p 'ExecStopPost=/bin/sh ./launch ended' \
    /bin/sh ./launch start 2>&1 || die "systemd did not start $unit"
  gone() {{ [ -s "$R/ended" ] && rc=$(cat "$R/ended"); }}
  end() {{ systemctl kill -s KILL "$unit" 2>/dev/null; no_unit; }}
else
  export QEMU AS; setsid sh "$R/launch" go 9>&- &
  p=$!
  gone() {{ kill -0 "$p" 2>/dev/null && return 1; wait "$p"; rc=$?; }}
  end() {{ kill -KILL "$p"; }}
fi
i=0
while ! {{ [ -S "$R/qmp.sock" ] && [ -s "$R/qemu.pid" ] && {{ [ -z "$Q" ] || bound; }}; }}; do
  if gone; then tail -n 5 "$D/qemu.log"; die "QEMU ended at once with exit code $rc"; fi
  [ "$i" -lt {ticks} ] || {{ end; die 'no QMP socket within {wait_s} s'; }}
  sleep 0.02; i=$((i+1))
done
[ -z "$Q" ] || from_qemu || exit 1
p=$(qemu_pid) || die 'QEMU has ended'
say D pid "$p"; say D starttime "$(start_time "$p")"
say D boot_id "$(cat /proc/sys/kernel/random/boot_id)" """

# Who keeps the lock of an adopted QEMU lets go up to a second after its end.
_KILL = r"""free() {{ ! managed || no_unit; }}
p=$(qemu_pid) || {{ i=0; while alive && [ "$i" -lt 20 ]; do sleep 0.1; i=$((i+1)); done
  alive || {{ free; echo 'not running'; exit 0; }}
  die 'run.lock is held, but no QEMU of this VM is to be found'; }}
kill -TERM "$p"; i=0
while alive || is_ours "$p"; do
  [ "$i" != {term_ticks} ] || kill -KILL "$p" 2>/dev/null
  [ "$i" -lt {kill_ticks} ] || die "process $p does not end (state $(sed 's/^.*) //' \
    "/proc/$p/stat" | cut -c1))"
  sleep 0.1; i=$((i+1))
done
free; say D pid "$p" """


def start(step: StartQemu) -> str:
    """Start QEMU, as a unit or in a session of its own, and wait for its sockets."""
    launch = _LAUNCH.format(
        run=quote(step.run_folder),
        folder=quote(step.folder),
        stop_ticks=step.powerdown_s * 2,
        argv=" ".join(quote(a) for a in step.argv),
    )
    return (
        qemu_user.start(step)
        + UNIT
        + _START.format(
            kvm=qemu_user.kvm(step.argv),
            lent=qemu_user.lent(step),
            binaries=" ".join(quote(b) for b in step.binaries),
            launch=launch,
            mark=mark_for(launch),
            stop_s=step.powerdown_s + _TERM_S,
            ticks=step.wait_s * 50,
            wait_s=step.wait_s,
        )
    )


def kill(step: KillQemu) -> str:
    """End QEMU: TERM, wait, KILL; then wait until its unit is gone."""
    return UNIT + _KILL.format(term_ticks=step.wait_s * 10, kill_ticks=step.wait_s * 10 + 100)


def mark_for(text: str) -> str:
    """A line that ends a here-document and is none of its own."""
    mark = "END"
    while mark in text.splitlines():
        mark += "."
    return mark
