"""What makes a host ready, as POSIX sh: the text of each step of `host setup`.

What a step makes it writes down first, in ``$L/setup``: what is in there, and only that, goes when
the host is removed. One that is killed between the two has noted too much, which does no harm.
"""

from __future__ import annotations

from tashictl.model.steps import (
    InstallPackages,
    JoinGroup,
    MakeUser,
    PutFile,
    SetFolder,
)
from tashictl.planning.shell import quote

SetupStep = InstallPackages | MakeUser | JoinGroup | SetFolder | PutFile
SETUP_STEPS = (InstallPackages, MakeUser, JoinGroup, SetFolder, PutFile)

_NOTED = r"""noted() { grep -qsxF -- "$1" "$L/setup" && return 0
  mkdir -p "$L" && printf '%s\n' "$1" >>"$L/setup" || die "$L/setup cannot be written"; }
"""

# A package's daemon must not inherit the host's lock. What was killed half done is finished first.
# Old lists of packages are the usual reason why a first try fails, so they are read only then.
_INSTALL = r"""flock -u 7; exec 7>&-
t=$(mktemp) || die 'no temporary file'; trap 'rm -f "$t"' EXIT
end=$(($(date +%s) + {limit}))
run() {{ n=$((end - $(date +%s))); [ "$n" -gt 0 ] || return 124
  timeout -k 5 "$n" "$@" </dev/null >>"$t" 2>&1; }}
failed() {{ [ "$1" != 124 ] && [ "$1" != 137 ] || echo 'not done within {limit} s'
  grep -v -e '^Get:' -e '^Hit:' -e '^Selecting' -e '^$' -e '\.\.\.$' "$t" | tail -n 8; exit 1; }}
{manager}
for p in {packages}; do noted "package $p"; done"""

_APT = r"""export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l
apt() { run apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=20 -o Acquire::Retries=1 \
  -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 \
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"; }
[ -z "$(dpkg --audit 2>/dev/null)" ] || run dpkg --configure -a || failed $?
install() { apt install --no-install-recommends -- %s; }
rc=0; install || rc=$?
if [ "$rc" != 0 ]; then
  ! grep -q -i 'could not get lock\|unable to lock\|unable to acquire' "$t" || failed "$rc"
  [ "$(date +%%s)" -lt "$end" ] || failed 124
  : >"$t"; apt update; install || failed $?
fi"""

_DNF = r"""run dnf -y -q --setopt=install_weak_deps=False install -- %s || failed $?"""

_USER = r"""if ! id -u {user} >/dev/null 2>&1; then
  noted 'user '{user}
  g=-U; if grep -q '^'{user}: /etc/group; then g='-g '{user}; fi
  s=$(command -v nologin || command -v false)
  useradd -r $g -M -d /nonexistent -s "$s" -c 'QEMU, by tashictl' {user} || exit 1
fi"""

_JOIN = r"""g=$(stat -c %G {device}) || exit 1
case " $(id -nG {user}) " in *" $g "*) exit 0;; esac
noted "member {user} $g"
usermod -a -G "$g" {user}"""

# The part lies beside its place: sudo reads no file with a dot in its name.
_PUT_FILE = r"""f={path}; p={path}.part
if [ -e "$f" ] && ! grep -qF {mark} "$f"; then echo "the operator's own file"; exit 0; fi
noted "file $f"; [ -d "${{f%/*}}" ] || noted "folder ${{f%/*}}"
mkdir -p "${{f%/*}}" && (umask 077; printf '%s\n' {content} | cat >"$p") && chmod {mode} "$p" \
  || {{ rm -f "$p"; exit 1; }}
{check}sync "$p" && mv -f "$p" "$f" || {{ rm -f "$p"; exit 1; }}"""

_VISUDO = r"""visudo -cqf "$p" 2>&1 || { rm -f "$p"; die "visudo refuses it, so $f is as it was"; }
"""


def text(step: SetupStep) -> str:
    """The text of a step of `host setup`."""
    match step:
        case InstallPackages():
            return _NOTED + _install(step)
        case MakeUser(user=user):
            return _NOTED + _USER.format(user=quote(user))
        case JoinGroup(user=user, device=device):
            return _NOTED + _JOIN.format(user=quote(user), device=quote(device))
        case SetFolder(path=path):
            return f"mkdir -p {quote(path)} && chmod a+x {quote(path)}"
        case PutFile():
            return _NOTED + _PUT_FILE.format(
                path=quote(step.path),
                mark=quote(step.mark),
                content=quote(step.content.rstrip()),
                mode=quote(step.mode),
                check=_VISUDO if step.sudoers else "",
            )


def _install(step: InstallPackages) -> str:
    packages = " ".join(quote(p) for p in step.packages)
    manager = (_DNF if step.manager == "dnf" else _APT) % packages
    return _INSTALL.format(limit=step.timeout_s, manager=manager, packages=packages)
