"""What frees a host: the step that leaves nothing of this cluster there, and its text."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.settings import Settings
from tashictl.model.state import State
from tashictl.model.steps import Plan, PutImage, ReleaseHost
from tashictl.planning import paths
from tashictl.planning.render import IFUP_MARK
from tashictl.planning.setup_names import MARK, MODULES, SUDOERS, USER
from tashictl.planning.shell import quote

# Of what `host setup` noted that it made. What sudo needs goes behind the claim: a step that is
# done once more needs it too.
_SETUP = r"""noted() {{ grep -qsxF -- "$1" "$L/setup"; }}
q={user}
if noted "user $q" && id -u "$q" >/dev/null 2>&1; then
  if stat -c %u /proc/[0-9]* 2>/dev/null | grep -qx "$(id -u "$q")"; then
    echo "user $q stays, since a process runs as it"
  else
    o=$(userdel "$q" 2>&1) || die "$o"
    ! grep -q "^$q:" /etc/group || groupdel "$q" || exit 1
  fi
elif id -u "$q" >/dev/null 2>&1; then
  sed -n 's/^member //p' "$L/setup" 2>/dev/null | while read -r u g; do
    [ "$u" != "$q" ] || gpasswd -d "$u" "$g" >/dev/null 2>&1
  done
fi
p=$(sed -n 's/^package //p' "$L/setup" 2>/dev/null | tr '\n' ' ')
[ -z "$p" ] || echo "packages that setup installed: ${{p% }}"
made() {{ for f in {made}; do
  noted "file $f" && [ -f "$f" ] && grep -qF {setup_mark} "$f" && {{ rm -f -- "$f" || exit 1; }}
  ! noted "folder ${{f%/*}}" || rmdir "${{f%/*}}" 2>/dev/null
done; rm -f "$L/setup" || exit 1; }}
"""

# The claim goes last: until then the host is ours, and the step can be done once more. An image is
# removed only where its folder really lies in the image folder, whatever links there are.
_RELEASE = r"""[ -n "$C" ] || die 'no cluster'
for d in "$L/$C"/*-*-*-*-*; do [ ! -d "$d" ] || die "the folder of a VM is there: $d"; done
for d in "$R/$C"/*-*-*-*-*; do ! locked "$d/run.lock" || die "a VM runs there: $d"; done
if [ -d "$R/net/pending" ] \
  && [ "$(cat "$R/net/pending/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  die "a change of the host's network is in flight: $(cat "$R/net/pending/stage")"
fi
for f in {etc}/qemu-ifup.* {etc}/qemu-ifdown; do
  [ ! -f "$f" ] || ! grep -qF {mark} "$f" || rm -f -- "$f" || exit 1
done
{setup}w=$(readlink -f "$D" 2>/dev/null)
for i in {files}; do
  f=$D/$i; d=${{f%/*}}
  [ -d "$d" ] || continue
  case $(readlink -f "$d")/ in "$w"/*) ;; *) continue ;; esac
  rm -f -- "$f" || exit 1
  while [ "$d" != "$D" ] && rmdir "$d" 2>/dev/null; do d=${{d%/*}}; done
done
if [ {shared} = no ]; then
  rmdir "$D" 2>/dev/null && rmdir "${{D%/*}}" 2>/dev/null
  [ ! -d "$D" ] || echo "$D holds files that are not the cluster's"
fi
for f in {etc}/network/interfaces.d/tashi {etc}/systemd/network/*-tashi-*.network; do
  [ ! -f "$f" ] || {{ echo "the host's network stays as it is, with ${{f%/*}}"; break; }}
done
rm -rf -- "$R/net" "$L/net" "$R/$C" "$L/$C" && rm -f "$L/cluster" "$L/cluster.lock" || exit 1
{made}rmdir "$R" "$L" 2>/dev/null
exit 0"""


def text(step: ReleaseHost) -> str:
    """The text of the step."""
    names = (*step.images, *(f"{name}.part" for name in step.images), *step.parts)
    return _RELEASE.format(
        etc=quote(step.etc_dir),
        mark=quote(IFUP_MARK),
        files=" ".join(quote(name) for name in names),
        shared="yes" if step.shared else "no",
        setup=_setup(step),
        made="made\n" if step.user else "",
    )


def _setup(step: ReleaseHost) -> str:
    """Nothing for a removal that was begun by a tashictl without `host setup`."""
    if not step.user:
        return ""
    made = " ".join(quote(path) for path in step.made) or "''"
    return _SETUP.format(user=quote(step.user), made=made, setup_mark=quote(MARK))


def images_of(state: State, host: str, settings: Settings) -> tuple[str, ...]:
    """The images that go with a host: those that lie there and on no shared prefix."""
    if settings.vfs_shared:
        return ()
    return tuple(sorted(i.name for i in state.images.values() if host in i.hosts and not i.shared))


def parts_of(plans: Iterable[Plan], host: str, settings: Settings) -> tuple[str, ...]:
    """The part files that imports, whose `plans` are known, may have left on a host."""
    folder = f"{settings.image_folder}/"
    found = {
        step.path.removeprefix(folder)
        for plan in plans
        for step in plan
        if isinstance(step, PutImage) and step.host == host and step.path.startswith(folder)
    }
    return () if settings.vfs_shared else tuple(sorted(found))


def plan(state: State, host: str, settings: Settings, parts: tuple[str, ...] = ()) -> Plan:
    """The one step that frees `host`; `parts` are part files of images that never came there."""
    images = images_of(state, host, settings)
    return (
        ReleaseHost(
            **paths.at_host(host, settings),
            etc_dir=settings.tashictl.etc_dir,
            images=images,
            parts=tuple(p for p in parts if p.removesuffix(".part") not in images),
            shared=settings.vfs_shared,
            made=(MODULES, SUDOERS),
            user=USER,
        ),
    )
