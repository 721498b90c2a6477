"""What a lab leaves on the machine that holds it, and how that is removed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

DIRECTORY_PREFIX = "tashictl-lab-"
SLOT_FOLDER = Path("/run/lock/tashictl-lab")


def mark(lab_id: str) -> str:
    """The word that starts the name of each link and mount of a lab (8 characters)."""
    return f"tl{lab_id}"


def links(lab_id: str) -> list[str]:
    """Names of the lab's links in this network namespace."""
    names = [entry.name for entry in Path("/sys/class/net").iterdir()]
    return sorted(name for name in names if name.startswith(mark(lab_id)))


def remove_links(lab_id: str) -> None:
    """Deletes the lab's links; one that is gone meanwhile (with its peer) is no fault."""
    batch = "".join(f"link del {name}\n" for name in links(lab_id))
    argv = ["ip", "-force", "-batch", "-"]
    subprocess.run(argv, input=batch, text=True, capture_output=True, check=False)


def directory(lab_id: str, base_dir: Path | None = None) -> Path:
    """Where a lab keeps its keys and logs."""
    return (base_dir or Path(tempfile.gettempdir())) / f"{DIRECTORY_PREFIX}{lab_id}"


def remove(lab_id: str, folder: Path) -> None:
    """Removes links and directory of a lab whose processes are dead."""
    remove_links(lab_id)
    shutil.rmtree(folder, ignore_errors=True)


def leftovers(lab_id: str, base_dir: Path | None = None) -> list[str]:
    """Links, mounts, processes, directories and slots of a lab that still exist; empty is clean."""
    found = [f"link {name}" for name in links(lab_id)]
    folder = directory(lab_id, base_dir)
    found += [f"directory {folder}"] if folder.exists() else []
    found += [f"slot {path}" for path in _slot_files() if lab_id in _text(path)]
    return found + _mounts(lab_id) + _processes(lab_id, folder.name)


def _mounts(lab_id: str) -> list[str]:
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [f"mount {line}" for line in lines if lab_id in line]


def _processes(lab_id: str, folder_name: str) -> list[str]:
    """Processes that see a mount of the lab (all in its hosts do) or name its directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        inside = mark(lab_id) in _text(entry / "mountinfo")
        words = _text(entry / "cmdline").replace("\0", " ").strip()
        if inside or folder_name in words:
            found.append(f"process {entry.name} {words}")
    return found


def _slot_files() -> list[Path]:
    return sorted(SLOT_FOLDER.iterdir()) if SLOT_FOLDER.is_dir() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
