"""From steps to POSIX sh: the text that a host is sent, and that a dry run shows.

Each body runs in a subshell between its frames; what it prints is the step's message, and a
non-zero status ends the script there.
"""

from __future__ import annotations

from tashictl.errors import OperationFailed
from tashictl.model.script import Script
from tashictl.model.steps import (
    AddTap,
    AdoptQemu,
    ArmNet,
    AwaitExit,
    Batch,
    CheckDisk,
    CheckImage,
    CheckPort,
    ConfirmNet,
    CreateOverlay,
    Fence,
    GoNet,
    Guard,
    KillQemu,
    LetGo,
    LoadModule,
    MakeFolder,
    MakeReplicaFolder,
    MarkFences,
    MendIfup,
    PlaceImage,
    PlaceReplica,
    PlaceSeed,
    ProbeAddress,
    ReleaseHost,
    RemoveDir,
    RemoveFile,
    RemoveTap,
    RollbackNet,
    StartQemu,
    Step,
    WriteIfup,
    WriteManifest,
)
from tashictl.planning import (
    adopt_text,
    launch,
    mend,
    paths,
    qemu_user,
    release,
    replica,
    setup_text,
    wire,
)
from tashictl.planning.net import switch
from tashictl.planning.render import IFUP_MARK
from tashictl.planning.shell import TAIL, fenced, guarded, quote

# Listeners (state 0A) on 127.0.0.1, on all addresses, or on all of IPv6, which takes IPv4 too.
_PORT = r"""if alive; then echo 'runs already'; exit 0; fi
! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qiE \
  '^ *[0-9]+: (0100007F|0{{8}}|0{{32}}|0{{16}}FFFF0{{4}}0100007F):{hex} [0-9A-F]+:[0-9A-F]+ 0A ' \
  || die 'another process listens on port {port}; the next try takes another'"""

_AWAIT_EXIT = r"""i=0
while alive || qemu_pid >/dev/null; do
  [ "$i" -lt {ticks} ] || die 'QEMU still runs'
  sleep 0.1; i=$((i+1))
done"""

_REMOVE_DIR = r"""if alive || qemu_pid >/dev/null; then die 'QEMU still runs'; fi
rm -rf "$R" || exit 1
[ -d "$D" ] || exit 0
for f in "$D"/* "$D"/.[!.]* "$D"/..?*; do
  [ "$f" = "$D/manifest.json" ] || rm -rf -- "$f" || exit 1
done
rm -f "$D/manifest.json" && rmdir "$D" """

_OVERLAY = r"""[ ! -e {path} ] || {{ echo 'is there already'; exit 0; }}
[ -e {base} ] || die "no image "{base}
within {base} {folder} || die {base}" leads out of the image folder"
rm -f {path}.part
qemu-img create -q -f qcow2 -F {base_format} -b {base} {path}.part 2>&1 \
  || {{ rm -f {path}.part; exit 1; }}
ln {path}.part {path} && rm -f {path}.part"""

# A copy of this script that comes late must not take back what the same operation wrote after it.
_CREATING = r"""mkdir -p "$D" || exit 1
grep -qsF "\"phase\":\"running\",\"operation\":$OP," "$D/manifest.json" \
  || put "$D/manifest.json" 640 {manifest}"""

# Of a start that was taken back. It says less than run.lock does: a full disk may keep the old one.
_STOPPED = r"""[ -e "$D/manifest.json" ] || exit 0
put "$D/manifest.json" 640 {manifest} || echo 'the manifest stays as it is'"""

_STARTED = r"""p=$(qemu_pid) || die 'QEMU has ended'
t=$(start_time "$p"); b=$(cat /proc/sys/kernel/random/boot_id)
s=$(printf ',"started":{{"pid":%s,"starttime":%s,"boot_id":"%s"}}}}' "$p" "$t" "$b")
put "$D/manifest.json" 640 {manifest}"$s" """

_PLACE = r"""has() {{ [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = {sha256} ]; }}
if [ -e {path} ]; then
  has {path} || {{ rm -f {part}; die {path}' is there with other content'; }}
  rm -f {part}; exit 0
fi
has {part} || die {part}' has not the expected sha256'
if [ "$(head -c 3 {part})" = QFI ]; then # 3: only leaks; 63: cannot be checked; 127: no tool
  qemu-img check -q -f qcow2 {part} >/dev/null 2>&1
  case $? in 0|3|63|127) ;; *) rm -f {part}; die 'the image is damaged, says qemu-img check';; esac
fi
sync {part} && mv -f {part} {path}"""

# The claim first: a script that has passed it has made its fence file by then, so that none is
# missed. Its lock is let go before those of the VMs are taken: steps take them the other way.
_MARK_FENCES = r"""printf '%-119.119s\n' "$C $EPOCH ${hk:-0} ${hu:-host} $WHO" 1<>"$L/cluster" \
  || die "$L/cluster cannot be written"
flock -u 7
n=0; k=${hk:-0}
for f in "$L/$C/fence"/*; do
  [ -f "$f" ] || continue
  exec 9>>"$f"; flock -w "$WAIT" 9 || die "a script still holds $f"
  fe=; fo=; read -r fe fo fa fs <"$f"
  [ "${fe:-0}" -le "$EPOCH" ] || die "$f knows epoch $fe"
  if [ "${fe:-0}" -lt "$EPOCH" ]; then
    printf '%-79s\n' "$EPOCH 0 0 rebuilt" 1<>"$f" || die "$f cannot be written"
  fi
  [ "${fo:-0}" -le "$k" ] || k=$fo
  exec 9>&-; n=$((n+1))
done
say D fences "$n"; say D counter "$k" """

# Where the host's network is being changed a bridge may go away again, a TAP with it, and the files
# are those that the change is about. A change is armed under the same lock.
_STILL = r"""exec 7>>"$L/cluster.lock"; flock -w "$WAIT" 7 || die "the host is busy"
p={net_dir}/pending
if [ "$(cat "$p/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  die "the host's network is being changed by $(cat "$p/who") since $(cat "$p/since"), and not \
confirmed: wait for its end, or tashictl net confirm, or net rollback"
fi
"""

_PLACE_SEED = r"""has() {{ [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = {sha256} ]; }}
if has {path}; then rm -f {part}; echo 'is there already'; exit 0; fi
has {part} || die 'the seed did not arrive, or with another sha256'
chmod 640 {part} && sync {part} && mv -f {part} {path}"""


def body(step: Step) -> str:
    """The text that does one step; raises OperationFailed for a step that no script can do."""
    match step:
        case WriteManifest(manifest=manifest, add_started=True):
            return _STARTED.format(manifest=quote(manifest))
        case WriteManifest(manifest=manifest, phase="stopped"):
            return _STOPPED.format(manifest=quote(manifest))
        case WriteManifest(manifest=manifest):
            return _CREATING.format(manifest=quote(manifest))
        case CreateOverlay():
            return _OVERLAY.format(
                path=quote(step.path),
                base=quote(step.base),
                folder=quote(step.image_folder),
                base_format=quote(step.base_format),
            )
        case CheckImage(path=path, image_folder=folder):
            return (
                f'[ -e {quote(path)} ] || die "no image "{quote(path)}\n'
                f"within {quote(path)} {quote(folder)} \\\n"
                f'  || die {quote(path)}" leads out of the image folder"'
            )
        case StartQemu():
            return launch.start(step)
        case KillQemu():
            return launch.kill(step)
        case AwaitExit(wait_s=wait_s):
            return _AWAIT_EXIT.format(ticks=wait_s * 10)
        case RemoveDir():
            return _REMOVE_DIR
        case AdoptQemu():
            return adopt_text.adopt(step)
        case LetGo():
            return adopt_text.let_go()
        case _:
            return _small(step)


def _small(step: Step) -> str:
    match step:
        case WriteIfup(path=path, content=content):
            # One file for all VMs of the host, which other scripts may be writing just now.
            return (
                f"{_still(step)}"
                f"[ ! -e {quote(path)} ] || grep -qF {quote(IFUP_MARK)} {quote(path)} \\\n"
                f'  || {{ echo "the operator\'s own file"; exit 0; }}\n'
                f"put {quote(path)} 755 {quote(content.rstrip())}"
            )
        case AddTap(tap=tap, ifup=ifup):
            return f"{_still(step)}{qemu_user.add_tap(tap)}{quote(ifup)} {quote(tap)}"
        case CheckDisk(path=path):
            return f"[ -f {quote(path)} ] || die 'a disk of the VM is gone: '{quote(path)}"
        case CheckPort(port=port):
            return _PORT.format(port=port, hex=f"{port:04X}")
        case RemoveTap(tap=tap):
            return f"[ ! -e /sys/class/net/{tap} ] || ip link del dev {quote(tap)}"
        case MakeFolder(path=path):
            return f"mkdir -p {quote(path)}"
        case PlaceImage():
            return _PLACE.format(
                part=quote(step.part), path=quote(step.path), sha256=quote(step.sha256)
            )
        case PlaceSeed():
            return _PLACE_SEED.format(
                part=quote(step.part), path=quote(step.path), sha256=quote(step.sha256)
            )
        case RemoveFile(path=path):
            return f"rm -f {quote(path)}"
        case ReleaseHost():
            return release.text(step)
        case _:
            return _of_the_state(step)


def _still(step: Step) -> str:
    return _STILL.format(net_dir=quote(paths.net_dir(step)))


def _of_the_state(step: Step) -> str:
    match step:
        case ProbeAddress():
            return wire.text(step)
        case MarkFences():
            return _MARK_FENCES
        case MakeReplicaFolder() | PlaceReplica():
            return replica.text(step)
        case MendIfup() | LoadModule():
            return mend.text(step)
        case ArmNet() | GoNet() | ConfirmNet() | RollbackNet():
            return switch.text(step)
        case _ if isinstance(step, setup_text.SETUP_STEPS):
            return setup_text.text(step)
        case _:
            raise OperationFailed("E-STEP", f"{step.name} is no step for a script")


def guarding(steps: tuple[Step, ...], guard: Guard, nonce: str, timeout_s: int) -> Script:
    """The script that does steps of no operation under a guard; see `changing`."""
    text = [guarded(guard, nonce)]
    for index, step in enumerate(steps):
        frame = f"{index} {step.name}"
        text.append(f"begin {frame}\n(\n{body(step)}\n) 2>&1\nended {frame}\n")
    text.append(TAIL)
    return Script(
        text="".join(text),
        nonce=nonce,
        changing=True,
        timeout_s=timeout_s,
        steps=steps,
        guard=guard,
    )


def changing(batch: Batch, fence: Fence, nonce: str, timeout_s: int) -> Script:
    """The script that does a batch under its fence; `timeout_s` is its deadline on the host."""
    first = batch.steps[0]
    text = [fenced(fence, nonce, first.folder, first.run_folder)]
    for index, step in zip(batch.indexes, batch.steps, strict=True):
        frame = f"{index} {step.name}"
        text.append(f"begin {frame}\n(\n{body(step)}\n) 2>&1\nended {frame}\n")
    text.append(TAIL)
    return Script(
        text="".join(text),
        nonce=nonce,
        changing=True,
        timeout_s=timeout_s,
        steps=batch.steps,
        fence=fence,
    )
