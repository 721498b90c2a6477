"""Host facts: what to ask, and how to read the answer. Pure pairs of text.

One small read-only script: memory, cores, QEMU and its machine types, KVM, clock, bridges, images,
and the VMs by lock and manifest. It is recovery's eyes and the placement's.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from tashictl.model.host import HostFacts, ImageFact, VmFact
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning import ground
from tashictl.planning.create import binaries
from tashictl.planning.frames import Section, sections
from tashictl.planning.ground import Ground
from tashictl.planning.shell import READABLE, VM_WORDS, quote, read_only

PROBE_TIMEOUT_S = 30
MORE_TIMEOUT_S = 60  # where more is asked: what hangs there has limits of its own
REQUIRED = (
    "qemu-img",
    "ip",
    "flock",
    "setsid",
    "timeout",
    "sha256sum",
    "awk",
    "readlink",
    "sync",
    "grep",
    "sed",
)

# A guest that only leaves through isa-debug-exit: a ROM whose reset vector writes to port 0xf4.
# The processor must be the baseline ("enforce"): a KVM that cannot show it hangs stock kernels.
_KVM = r"""
say B kvm
t=$(mktemp) && trap 'rm -f "$t"' EXIT
{ head -c 65520 /dev/zero | tr '\000' '\364'
  printf '\272\364\000\260\020\356\364\364\364\364\364\364\364\364\364\364'; } >"$t"
if [ ! -c /dev/kvm ]; then echo absent
elif ! { [ -r /dev/kvm ] && [ -w /dev/kvm ]; }; then echo forbidden
elif [ -z "$q" ]; then echo untested
else
  timeout -s KILL 3 "$q" -accel kvm -machine pc -m 16 -nodefaults -display none -bios "$t" \
    -cpu "$CPU" -device isa-debug-exit,iobase=0xf4,iosize=1 >/dev/null 2>&1 </dev/null
  case $? in 33) echo usable;; 137|124) echo hangs;; *) echo refused;; esac
fi
"""

_PROBE = r"""
say B basics
echo "time $(date +%s)"; echo "boot_id $(cat /proc/sys/kernel/random/boot_id)"
read -r up _ </proc/uptime && echo "up ${up%%.*}"
echo "arch $(uname -m)"; echo "kernel $(uname -r)"
echo "cores $(nproc 2>/dev/null || grep -c '^processor' /proc/cpuinfo)"
echo "memory_kib $(awk '/^MemTotal:/ {print $2}' /proc/meminfo)"
[ ! -s "$L/cluster" ] || echo "cluster $(cat "$L/cluster")"
readable "$RUN/$C"; readable "$L/$C"; [ -e /proc/1/stat ] || HIDDEN=1
[ -z "$HIDDEN" ] || echo "hidden 1"
[ ! -s "$L/$C/replica/head" ] || echo "replica $(cat "$L/$C/replica/head")"
for t in $REQUIRED; do command -v "$t" >/dev/null || echo "missing $t"; done
for b in /sys/class/net/*/bridge; do [ -d "$b" ] && b=${b%/bridge} && echo "bridge ${b##*/}"; done
for p in $(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" {
  sub(/^.*:/, "", $2); print $2 }'); do p=$((0x$p))
  [ "$p" -lt "${PORTS%-*}" ] || [ "$p" -gt "${PORTS#*-}" ] || echo "port $p"; done
say B qemu
q=; for b in $BINARIES; do q=$(command -v "$b") && break; done
if [ -n "$q" ]; then
  echo "bin $q"; timeout 5 "$q" --version 2>/dev/null | head -n 1
  timeout 5 "$q" -machine help 2>/dev/null | awk '/^(pc|q35)/ { a = $0; \
    if (a ~ /\(alias of /) { sub(/^.*\(alias of /, "", a); sub(/\).*/, "", a); \
    print "machine " $1 "=" a } else print "machine " $1 }'
fi
say B images
if [ -d "$IMAGES" ]; then cd "$IMAGES" && find -L . -type f ! -name '*.part' ! -name '.*' \
  2>/dev/null | head -n 5000 | while read -r f; do
  echo "$(wc -c <"$f") $(head -c 4 "$f" | od -An -tx1 | tr -d ' \n') \
$(head -c 32 "$f" | tail -c 8 | od -An -tx1 | tr -d ' \n') ${f#./}"; done; fi
"""

_VMS = r"""
U=none; for d in "$L/$C"/*-*/; do [ -d "$d" ] || continue
  d=${d%/}; U=${d##*/}; R="$RUN/$C/$U"
  say B vm "$U"
  if alive; then echo alive 1; p=$(qemu_pid) && echo "pid $p" && echo "start $(start_time "$p")"
  else echo alive 0; fi
  [ ! -s "$L/$C/fence/$U" ] || echo "fence $(cat "$L/$C/fence/$U")"
  [ ! -s "$d/manifest.json" ] || echo "manifest $(cat "$d/manifest.json")"
done
for d in "$RUN/$C"/*-*/; do [ -d "$d" ] || continue
  d=${d%/}; U=${d##*/}; R=$d
  [ ! -d "$L/$C/$U" ] || continue
  say B vm "$U"
  if alive; then echo alive 1; p=$(qemu_pid) && echo "pid $p"; else echo alive 0; fi
done
"""

# Last: an offset between two clocks is as good as the time between the look at one and the other.
_CLOCK = r"""
say B clock
echo "time $(date +%s)"
"""


# Size, first four bytes, the eight bytes where qcow2 has its size, name; short files lack some.
_IMAGE = re.compile(r"([0-9]{1,18}) ([0-9a-f]{0,8}) ([0-9a-f]{0,16}) (.+)")
_HEAD = re.compile(r"([0-9]{1,18}) ([0-9]{1,18}) ([0-9a-f]{1,64})")
_NUMBER = re.compile(r"[0-9]{1,18}")
_ISO = "%Y-%m-%dT%H:%M:%SZ"
_MAX_UP_S = 30 * 365 * 86400  # what is more is no uptime


class Probe(Struct, frozen=True, kw_only=True):
    """What a probe asks: with `kvm` also all that `host check` looks at; KVM takes up to 3 s.

    `more` is the text of further read-only sections (of `doctor`), which others read.
    """

    settings: Settings
    cpu: str
    kvm: bool = True
    more: str = ""

    @property
    def timeout_s(self) -> int:
        """The deadline on the host."""
        return MORE_TIMEOUT_S if self.more else PROBE_TIMEOUT_S


def script(probe: Probe, nonce: str) -> Script:
    """The probe for one host; it changes nothing (but for a temporary file of the KVM check)."""
    settings = probe.settings
    names = " ".join(quote(b) for b in binaries(settings))
    asked = (_KVM + ground.SCRIPT if probe.kvm else "") + probe.more
    body = VM_WORDS + READABLE + _PROBE + asked + _VMS + _CLOCK
    text = read_only(
        nonce,
        body,
        L=settings.tashictl.lib_dir,
        RUN=settings.tashictl.run_dir,
        C=settings.tashictl.cluster_id,
        IMAGES=settings.image_folder,
        BINARIES=names,
        REQUIRED=" ".join(REQUIRED),
        CPU=probe.cpu,
        PORTS=str(settings.tashictl.ssh_ports),
    )
    return Script(text=text, nonce=nonce, changing=False, timeout_s=probe.timeout_s)


class Reading(Struct, frozen=True, kw_only=True):
    """A probe's answer that was read; `ground` is None and `kvm` empty where they were not asked.

    `kvm` is usable, absent, forbidden, untested (no QEMU), hangs, refused. `replica` is (epoch,
    generation, digest) of the copy of the state that lies there, if one does.
    """

    facts: HostFacts
    kvm: str = ""
    ground: Ground | None = None
    replica: tuple[int, int, str] | None = None


def read(out: bytes, nonce: str, now: datetime, accel: str | None = None) -> Reading | None:
    """Read a probe's answer; None when it is cut short. `accel` is kept when KVM was not asked."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    by_name = {s.words[0]: s for s in found if s.kind == "B" and s.words}
    basics = _pairs(by_name.get("basics"))
    qemu = by_name.get("qemu")
    clock = _pairs(by_name.get("clock"))
    kvm = by_name["kvm"].text.strip() if "kvm" in by_name else ""
    cluster = (basics.get("cluster") or [""])[0].split()
    facts = HostFacts(
        at=now.strftime(_ISO),
        boot_id=_first(basics, "boot_id"),
        arch=_first(basics, "arch"),
        cores=_number(_first(basics, "cores")),
        memory_mib=_number(_first(basics, "memory_kib")) // 1024,
        accel=("kvm" if kvm == "usable" else "tcg") if kvm else (accel or "tcg"),
        qemu_bin=next(iter(_pairs(qemu).get("bin", [])), None),
        qemu_version=_version(qemu),
        machine_types=tuple(_pairs(qemu).get("machine", [])),
        kernel=_first(basics, "kernel"),
        clock_offset_s=_number(_first(clock, "time") or _first(basics, "time")) - now.timestamp(),
        claimed_by=cluster[0] if cluster else None,
        claimed_epoch=_number(cluster[1]) if len(cluster) > 1 else 0,
        claimed_counter=_number(cluster[2]) if len(cluster) > 2 else 0,
        missing=tuple(basics.get("missing", [])),
        bridges=tuple(basics.get("bridge", [])),
        ports=tuple(sorted({_number(port) for port in basics.get("port", [])})),
        images=tuple(_images(by_name.get("images"))),
        vms=tuple(
            _vm(s) for s in found if s.kind == "B" and s.words[:1] == ("vm",) and s.words[1:]
        ),
        booted=_booted(_first(basics, "up"), now),
        hidden="hidden" in basics,
    )
    return Reading(
        facts=facts,
        kvm=kvm,
        ground=ground.read(by_name.get("ground")),
        replica=_replica(_first(basics, "replica")),
    )


def _replica(head: str) -> tuple[int, int, str] | None:
    match = _HEAD.fullmatch(head.strip())
    return (int(match[1]), int(match[2]), match[3]) if match is not None else None


def _booted(up_s: str, now: datetime) -> str | None:
    seconds = _number(up_s)
    if not 0 < seconds < _MAX_UP_S:
        return None
    return (now - timedelta(seconds=seconds)).strftime(_ISO)


def _pairs(section: Section | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (section.text if section else "").splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def _first(pairs: dict[str, list[str]], key: str) -> str:
    return pairs.get(key, [""])[0]


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


def _version(section: Section | None) -> str | None:
    """``7.2.22`` of ``QEMU emulator version 7.2.22 (Debian …)``."""
    for line in (section.text if section else "").splitlines():
        words = line.split()
        if "version" in words[:-1]:
            return words[words.index("version") + 1]
    return None


def _images(section: Section | None) -> list[ImageFact]:
    found = []
    for line in (section.text if section else "").splitlines():
        match = _IMAGE.fullmatch(line)
        if match is None:
            continue
        size, magic, virtual, name = match.groups()
        qcow2 = magic == "514649fb"
        found.append(
            ImageFact(
                name=name,
                size_bytes=int(size),
                format="qcow2" if qcow2 else "raw",
                virtual_size_bytes=int(virtual, 16) if qcow2 and virtual else int(size),
            )
        )
    return found


def _vm(section: Section) -> VmFact:
    pairs = _pairs(section)
    manifest: dict[str, object] | None = None
    text = _first(pairs, "manifest")
    if text:
        try:
            manifest = msgspec.json.decode(text, type=dict[str, object])
        except (msgspec.DecodeError, RecursionError):
            manifest = None
    fence = _first(pairs, "fence").split()[:3]
    pid, start = _number(_first(pairs, "pid")), _number(_first(pairs, "start"))
    return VmFact(
        uuid=section.words[1],
        alive=_first(pairs, "alive") == "1",
        pid=pid or None,
        starttime=start or None,
        manifest=manifest,
        fence=(int(fence[0]), int(fence[1]), int(fence[2]))
        if len(fence) == 3 and all(map(_NUMBER.fullmatch, fence))
        else None,
    )
