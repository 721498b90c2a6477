"""A user of this machine who may do nothing special, with processes, network and home of its own.

What tests run may lie where only root may look, such as below /root: in the user's namespace those
folders are covered, and only what is needed shows. All of it ends with the holder, whose end the
end of this process is, in whatever way it comes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.lab.runner import Result

UID, NAME = 61717, "hermit"
_PROJECT = Path(__file__).resolve().parents[2]


class Hermit:
    """`with Hermit(argv) as user:` gives the user; `hidden` programs are not there for it."""

    def __init__(self, argv: Sequence[str], hidden: Iterable[str] = ()) -> None:
        self.argv = list(argv)
        self.base = Path(tempfile.mkdtemp(prefix="tashictl-hermit-", dir="/tmp"))
        self.home = self.base / "home"
        self.runtime = self.base / "run"
        self.state = self.home / ".local/state/tashi"
        self._hidden = [path for name in hidden if (path := shutil.which(name))]
        self._holder: subprocess.Popen[str] | None = None
        self._init = 0

    def __enter__(self) -> Self:
        self.base.chmod(0o755)
        for folder in (self.home, self.runtime):
            folder.mkdir(mode=0o700)
            os.chown(folder, UID, UID)
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL"]
        self._holder = subprocess.Popen(
            [*unshare, "--mount-proc", "--propagation", "private", "sh", "-euc", self._set_up()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        said = self._holder.stdout.readline()
        assert said == "ready\n", f"no namespaces: {said}"
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self._init = int(children.read_text(encoding="ascii").split()[0])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()
        shutil.rmtree(self.base)

    def _set_up(self) -> str:
        """Shell text: cover what the user may not enter, show in it what is needed, hide programs.

        The first process then waits for the end of its stdin, which is ours.
        """
        needed = [Path(sys.base_prefix), Path(sys.prefix), _PROJECT]
        covers = {cover: "" for path in needed if (cover := _closed(path)) is not None}
        stash = self.base / "stash"
        lines = ["ip link set lo up", f"mkdir {stash}"]
        for number, path in enumerate(needed):
            lines += [f"mkdir {stash}/{number}", f"mount --bind {_q(path)} {stash}/{number}"]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {_q(cover)}" for cover in covers]
        for number, path in enumerate(needed):
            if _closed(path) is not None:
                lines += [f"mkdir -p {_q(path)}", f"mount --bind {stash}/{number} {_q(path)}"]
        known = self.base / "passwd"  # ssh does nothing for a user without a name
        line = f"{NAME}:x:{UID}:{UID}::{self.home}:/bin/sh\n"
        known.write_text(Path("/etc/passwd").read_text(encoding="utf-8") + line, encoding="utf-8")
        lines.append(f"mount --bind {known} /etc/passwd")
        lines += [f"mount --bind /dev/null {_q(path)}" for path in self._hidden]
        return "\n".join([*lines, "echo ready", "exec cat >/dev/null"])

    def sh(self, text: str, *, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run shell text as the user, in its home."""
        enter = ["nsenter", "--target", str(self._init), "--mount", "--net", "--pid", "--"]
        become = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
        env = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PATH": f"{Path(self.argv[0]).parent}:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [*enter, *become, "--", "sh", "-c", f"cd {_q(self.home)} && {text}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=env,
            check=False,
        )

    def tashictl(self, *words: str, rc: int = 0, env: str = "") -> Result:
        """Run tashictl as the user; the exit code must be `rc`."""
        done = self.sh(f"{env} {shlex.join([*self.argv, *words])}".strip())
        result = Result((*self.argv, *words), done.returncode, done.stdout, done.stderr)
        assert result.rc == rc, str(result)
        return result

    def make_ssh_key(self) -> None:
        """A key of its own, and an ssh that asks nobody about host keys of this machine."""
        asks = "Host 127.0.0.1\\n  StrictHostKeyChecking no\\n  UserKnownHostsFile /dev/null\\n"
        made = self.sh(
            "mkdir -m 700 .ssh && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519 "
            f"&& printf '{asks}' >.ssh/config"
        )
        assert made.returncode == 0, made.stderr

    def files(self, folder: Path) -> list[str]:
        """All files and folders below a folder, relative to it; none where it is not there."""
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    def qemus(self) -> list[Path]:
        """/proc/<pid> of the QEMUs that run in the user's namespace."""
        space = Path(f"/proc/{self._init}/ns/pid").readlink()
        return [p for p in Path("/proc").iterdir() if p.name.isdigit() and _is_qemu(p, space)]


def _is_qemu(process: Path, space: Path) -> bool:
    try:
        if (process / "ns/pid").readlink() != space:
            return False
        return (process / "exe").readlink().name.startswith("qemu-system")
    except OSError:
        return False


def _closed(path: Path) -> Path | None:
    """The uppermost folder on the way to `path` that others may not enter."""
    way = [*reversed(path.parents), path]
    return next((folder for folder in way if not folder.stat().st_mode & 0o001), None)


def _q(path: str | Path) -> str:
    return shlex.quote(str(path))
