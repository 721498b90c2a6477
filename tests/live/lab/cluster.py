"""Makes a tashictl cluster directory of a lab's hosts."""

from collections.abc import Sequence
from pathlib import Path

from tests.live.lab import guest
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

CORES = 2
MEMORY = "1G"


def make_cluster(
    lab: Lab, directory: Path, tashictl_argv: Sequence[str], image: Path | None = None
) -> Tashictl:
    """A cluster with the lab's hosts trusted and the demo image imported, ready for `vm create`.

    `image` is the demo image, built when not given. Raises AssertionError with the output of the
    first command that failed.
    """
    tashictl = init_cluster(lab, directory, tashictl_argv)
    write_inventory(directory, lab)
    for host in lab.hosts:
        add_host(tashictl, host)
    import_image(tashictl, image or guest.build())
    return tashictl


def init_cluster(lab: Lab, directory: Path, tashictl_argv: Sequence[str]) -> Tashictl:
    """`tashictl init`, with the lab's folder as home."""
    home = lab.directory / "home"
    home.mkdir(exist_ok=True)
    tashictl = Tashictl(tashictl_argv, directory, home)
    tashictl.run("init", str(directory))
    return tashictl


def write_inventory(directory: Path, lab: Lab, *, user: str = "root") -> Path:
    """Writes inventory/lab.yaml of a cluster directory; for user `ops` with `become`."""
    path = directory / "inventory" / "lab.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(inventory(lab, user=user), encoding="utf-8")
    return path


def inventory(lab: Lab, *, user: str = "root") -> str:
    """The lab's hosts and its one network as inventory YAML."""
    become = "" if user == "root" else ", become: true"
    lines = [
        "defaults:",
        f"  {{user: {user}, identity_file: {lab.key}, uplink: trunk0, cores: {CORES}, "
        f"memory: {MEMORY}{become}}}",
        "hosts:",
    ]
    lines += [f"  {host.name}: {{address: {host.address}}}" for host in lab.hosts]
    net = lab.wiring.vm_subnet
    lines += [
        "networks:",
        "  - {id: 1, name: lan, bridge: vmbr, default: true, "
        f"cidr: {net}.0/24, range: {net}.10-{net}.199, gateway: {net}.254}}",
    ]
    return "".join(f"{line}\n" for line in lines)


def add_host(tashictl: Tashictl, host: Host) -> None:
    """`tashictl host add` with the host's fingerprint."""
    tashictl.run("host", "add", host.name, "--fingerprint", host.host_key_fingerprint)


def import_image(tashictl: Tashictl, image: Path) -> None:
    """`tashictl image import`."""
    tashictl.run("image", "import", str(image))
