"""Each fault made on a host of the lab, found by `doctor`, and gone when its remedy was typed."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.live import invariants
from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

IFUP = "/etc/qemu-ifup.1"
REMEDY = "the first line of the remedy"

# A KVM that a guest never comes back from: its device is there, and QEMU with it hangs.
HANG = """touch /dev/kvm && mount --bind /dev/null /dev/kvm
cat >/usr/local/bin/qemu-system-x86_64 <<'X'
#!/bin/sh
case " $* " in *" -accel kvm "*) exec sleep 600;; esac
exec /usr/bin/qemu-system-x86_64 "$@"
X
chmod 755 /usr/local/bin/qemu-system-x86_64"""
NO_HANG = "umount /dev/kvm; rm -f /dev/kvm /usr/local/bin/qemu-system-x86_64"
DROP = """nft -f - <<'X'
table ip filter {
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
  }
}
X
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables"""
NO_DROP = "nft flush ruleset"


class Case(NamedTuple):
    """A fault: how it is made and mended, and how it is found; `after` cleans up in any case."""

    check: str
    severity: str
    make: str
    evidence: str
    mend: str = REMEDY
    after: str = ""


CASES = {
    "bridge missing": Case(
        "net.bridge",
        "error",
        "ip link set vmbr down; ip link set vmbr name gone0",
        "absent, for lan",
        after="ip link del gone0",
    ),
    "bridge down": Case("net.bridge-up", "error", "ip link set vmbr down", "down"),
    "no uplink": Case(
        "net.bridge-uplink", "error", "ip link set trunk0 nomaster", "trunk0 is no port of vmbr"
    ),
    "uplink down": Case(
        "net.bridge-uplink",
        "error",
        "ip link set trunk0 down",
        "trunk0, the uplink of vmbr, is down",
    ),
    "uplink elsewhere": Case(
        "net.bridge-uplink",
        "error",
        "ip link add br7 type bridge; ip link set trunk0 master br7",
        "trunk0 is a port of br7",
        mend="ip link set dev trunk0 master vmbr",
        after="ip link del br7",
    ),
    "small uplink": Case(
        "net.mtu",
        "warning",
        # A bridge follows the smallest of its ports until somebody has set it.
        "ip link set vmbr mtu 1400; ip link set vmbr mtu 1500; ip link set trunk0 mtu 1400",
        "the largest is 1500, but trunk0 1400",
    ),
    "gateway that does not forward": Case(
        "host.forwarding",
        "error",
        "ip addr add {subnet}.254/24 dev vmbr; echo 0 >/proc/sys/net/ipv4/ip_forward",
        "net.ipv4.ip_forward is 0, and this host is the gateway of lan",
        mend="echo 1 >/proc/sys/net/ipv4/ip_forward",
        after="ip addr del {subnet}.254/24 dev vmbr; echo 0 >/proc/sys/net/ipv4/ip_forward",
    ),
    "policy of drop": Case(
        "net.bridge-filter",
        "error",
        DROP,
        "bridge-nf-call-iptables is 1 and chain FORWARD (ip filter) has policy DROP",
        mend="nft insert rule ip filter FORWARD iifname vmbr oifname vmbr accept",
        after=NO_DROP,
    ),
    "sessions": Case(
        "ssh.max-sessions",
        "warning",
        "sed -i 's/^MaxSessions.*/MaxSessions 4/' /etc/ssh/sshd_config",
        "MaxSessions 4",
        mend="sed -i 's/^MaxSessions.*/MaxSessions 100/' /etc/ssh/sshd_config",
    ),
    "logins at once": Case(
        "ssh.max-startups",
        "warning",
        "sed -i 's/^MaxStartups.*/MaxStartups 2:30:9/' /etc/ssh/sshd_config",
        "MaxStartups 2:30:9",
        mend="sed -i 's/^MaxStartups.*/MaxStartups 100/' /etc/ssh/sshd_config",
    ),
    "forwarding of sockets": Case(
        "ssh.sockets",
        "note",
        "echo 'AllowStreamLocalForwarding no' >>/etc/ssh/sshd_config",
        "sshd does not forward them",
        mend="sed -i '/^AllowStreamLocal/d' /etc/ssh/sshd_config",
    ),
    "folder full": Case(
        "disk.images",
        "error",
        "mkdir -p {images} && mount -t tmpfs -o size=8m none {images}",
        "8 MiB free in",
        mend="umount {images}",
    ),
    "folder read-only": Case(
        "disk.images",
        "error",
        "mkdir -p {images} && mount -t tmpfs -o size=99m none {images} "
        "&& mount -o remount,ro {images}",
        "cannot be written",
        mend="umount {images}",
    ),
    "kvm hangs": Case("kvm.hangs", "warning", HANG, "did not end in 3 s", mend=NO_HANG),
    "a tool hangs": Case(
        "net.bridge-filter",
        "note",
        "printf '#!/bin/sh\\nexec sleep 600\\n' >/usr/local/sbin/nft; "
        "chmod 755 /usr/local/sbin/nft",
        "it could not be read",
        mend="rm /usr/local/sbin/nft",
    ),
    "qemu hangs": Case(
        "qemu.version",
        "error",
        "printf '#!/bin/sh\\nexec sleep 600\\n' >/usr/local/bin/qemu-system-x86_64; "
        "chmod 755 /usr/local/bin/qemu-system-x86_64",
        "does not say its version",
        mend="rm /usr/local/bin/qemu-system-x86_64",
    ),
    "file not executable": Case(
        "net.ifup",
        "warning",
        "printf '#!/bin/sh\\n# rendered by tashictl\\n' >/etc/qemu-ifup.1; "
        "chmod 644 /etc/qemu-ifup.1",
        "not executable (mode 644); not what is rendered",
        mend="rm /etc/qemu-ifup.1",
    ),
}


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Two hosts."""
    with Lab(2) as raised:
        yield raised


@pytest.fixture(scope="module")
def clinic(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster of both hosts, without VMs."""
    directory = tmp_path_factory.mktemp("doctor") / "cluster"
    made = clusters.init_cluster(lab, directory, tashictl_argv)
    with (directory / "Tashi.cfg").open("a", encoding="utf-8") as handle:
        handle.write("connectTimeout = 4\n")
    clusters.write_inventory(directory, lab)
    for host in lab.hosts:
        clusters.add_host(made, host)
    return made


def look(clinic: Tashictl, *words: str, rc: int | None = None) -> dict[str, dict[str, Any]]:
    """The rows by id (one of them where there are several)."""
    done = clinic.run("doctor", *words, "-o", "json", check=False)
    assert rc is None or done.rc == rc, done
    return {row["id"]: row for row in done.json()}


def faults(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [i for i, row in rows.items() if row["severity"] in ("warning", "error")]


def test_a_host_of_the_lab_is_well(clinic: Tashictl) -> None:
    done = clinic.run("doctor")

    assert done.out.splitlines()[-1].startswith("this machine and 2 hosts: ")
    rows = look(clinic, "--all", rc=0)
    assert rows["host.reach"]["severity"] == rows["net.bridge-uplink"]["severity"] == "ok"
    assert rows["controller.known-hosts"]["severity"] == "ok"


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_found_and_gone_when_it_was_mended(
    clinic: Tashictl, lab: Lab, name: str
) -> None:
    case, host = CASES[name], lab.host("h1")
    words = {"subnet": lab.wiring.vm_subnet, "images": "/var/lib/tashi/shared/images"}

    def fill(text: str) -> str:
        for key, value in words.items():
            text = text.replace("{" + key + "}", value)
        return text

    host.run(fill(case.make), check=True)
    mended = False
    try:
        rows = look(clinic, "h1", rc=0 if case.severity == "note" else 9)
        found = rows[case.check]
        assert (found["severity"], found["host"]) == (case.severity, "h1")
        assert case.evidence in found["evidence"]
        assert found["remedy"]
        if case.severity != "note":
            assert faults(rows) == [case.check]
        mend = fill(case.mend) if case.mend != REMEDY else found["remedy"].splitlines()[0]
        if case.mend != REMEDY and case.mend.startswith(("nft", "ip")):
            assert mend in found["remedy"]
        host.run(mend, check=True)
        mended = True
        after = look(clinic, "h1", "--all", rc=0)
        assert after.get(case.check, {"severity": "ok"})["severity"] in ("ok", "note")
        assert case.evidence not in after.get(case.check, {"evidence": ""})["evidence"]
    finally:
        if not mended and case.mend != REMEDY:
            host.run(fill(case.mend))
        if not mended:
            _as_it_was(host)
        if case.after:
            host.run(fill(case.after))


def _as_it_was(host: Host) -> None:
    """The links of a host as its boot makes them; for a test that failed half-way."""
    host.run(
        "[ -e /sys/class/net/vmbr ] || ip link set gone0 name vmbr; "
        "ip link set trunk0 mtu 1500 master vmbr up; ip link set vmbr up"
    )


def test_the_file_of_a_network_is_brought_back_by_fix_while_its_vm_runs(
    clinic: Tashictl, lab: Lab
) -> None:
    host = lab.host("h2")
    clusters.import_image(clinic, invariants.blank_image(clinic.home))
    create = ("vm", "create", "v1", "--disk", invariants.IMAGE, "--host", "h2", "-o", "json")
    assert clinic.run(*create).json()["state"] == "Running"
    try:
        right = host.run(f"cat {IFUP}", check=True).stdout
        assert "net.ifup" not in look(clinic, "h2", rc=0)
        host.run(f"rm {IFUP}", check=True)
        found = look(clinic, "h2", rc=9)["net.ifup"]
        assert (found["severity"], found["subject"], found["fix"]) == ("warning", IFUP, True)
        assert "v1 cannot be started again" in found["evidence"]

        before = host.snapshot()
        dry = clinic.run("doctor", "h2", "--fix", "--dry-run", "-o", "json").json()["steps"]
        assert [(s["host"], s["name"]) for s in dry] == [("h2", "MendIfup")]
        assert host.snapshot() == before

        for spoil in ("true", f"echo >>{IFUP}; echo evil >>{IFUP}", f"chmod 600 {IFUP}"):
            host.run(spoil, check=True)
            row = look(clinic, "h2", "--fix", rc=0)["net.ifup"]
            assert (row["severity"], row["fixed"]) == ("ok", True)
            assert host.run(f"cat {IFUP}; stat -c %a {IFUP}").stdout == f"{right}755\n"
        assert "net.ifup" not in look(clinic, "h2", rc=0)
    finally:
        clinic.run("vm", "destroy", "v1", "-y")
        clinic.run("image", "list")


def test_an_operators_own_file_is_told_and_never_written(clinic: Tashictl, lab: Lab) -> None:
    host = lab.host("h1")
    host.run(f"printf '#!/bin/sh\\nmine\\n' >{IFUP}; chmod 755 {IFUP}", check=True)
    try:
        row = look(clinic, "h1", "--fix", rc=0)["net.ifup"]
        assert (row["severity"], row["fix"]) == ("note", False)
        assert host.run(f"cat {IFUP}").stdout == "#!/bin/sh\nmine\n"
    finally:
        host.run(f"rm -f {IFUP}")


def test_one_host_that_is_silent_hides_no_other(clinic: Tashictl, lab: Lab) -> None:
    host = lab.host("h2")
    host.pause_network()
    try:
        rows = look(clinic, rc=4)
        assert (rows["host.reach"]["host"], rows["host.reach"]["severity"]) == ("h2", "error")
        assert rows["host.systemd"]["host"] == "h1"
        assert clinic.run("doctor", "h2", check=False).rc == 6
    finally:
        host.resume_network()


def test_a_login_without_root_is_looked_at_as_far_as_it_may(clinic: Tashictl, lab: Lab) -> None:
    path = clusters.write_inventory(clinic.cluster, lab, user="noroot")
    path.write_text(path.read_text().replace(", become: true", ""))
    try:
        rows = look(clinic, "h1", rc=9)
        assert {"host.login", "host.tun", "disk.lib"} <= set(faults(rows))
        assert rows["net.bridge-filter"]["severity"] == "note"
        assert "could not be read" in rows["net.bridge-filter"]["evidence"]
    finally:
        clusters.write_inventory(clinic.cluster, lab)


def test_it_changes_nothing_on_a_host(clinic: Tashictl, lab: Lab) -> None:
    before = [host.snapshot() for host in lab.hosts]
    state = (clinic.cluster / "state" / "tashi.json").read_bytes()
    clinic.run("doctor")

    assert [host.snapshot() for host in lab.hosts] == before
    assert (clinic.cluster / "state" / "tashi.json").read_bytes() == state
