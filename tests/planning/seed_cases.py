"""VMs and networks whose seeds are kept as golden texts, and keys.

`python -m tests.planning.seed_cases` writes the texts anew.
"""

from __future__ import annotations

from pathlib import Path

from tashictl.model.network import Network
from tashictl.model.vm import NicSpec, Vm, VmSpec
from tashictl.planning import cloudinit

GOLDEN = Path(__file__).parent / "golden" / "seed"
UUID = "7c1e0000-0000-4000-8000-000000000001"
# Made for these tests; their other halves are lost.
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfnrjO0kh1LYq01dMWpbQN3WOmkN9gQroN6zsdHHUCN me@desk"
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBPFiVgshVNp"
    "Q9S1EK9x5t1VSz9ZK4Mej2FrrhQtzh5jq1puHmsvXV70loF7wxb5VvswGdZwM2uFNp3dRB3W7lk= me@ecds"
    "a"
)
RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCYR1ZlNtSQE4H3ImLHgR2DdYaZ598w8Lf53fQdUNIvkjOQ"
    "XJEnXWdpY5pxszVW90brdciwRTHcq0bhPPkBCHHdhlBue8hbMh2scxjI9oiJvU43PVa4IWHkrWpqD3s815WH"
    "nS2+dwY54H7C3puloK3a8XBob1VEzpEUsxA/AorPQh69UreU0DRNg0hsmIFmPigdXFq2gn6Rtxdnmb1fBFfA"
    "AU94azKhW5nx0SUgWnOX4kGV/H84Zs1BP+u5REQv8lqc+CZ6KFfj9RkxEFwakt/cnnWd4SdcyaEh/VRG9GT3"
    "J29ETY2mwJbSfkqhF58tpm48BgKi94PnO0tM1owJPBRhgNgLB89FyY2NOWDwHyWNAR70+XwvZJbsEgx66t8/"
    "ryEHiDIr7IyJW/VZVPX8fSWX8GYmxzN5YsW+ATsFhnEHJ3Ouh9E4saKvqzp7O4aeo0eGIh2ZyuHclOXRXBZ4"
    "6KI+xag4pe8+PW8fin06f7K6kdcer+IkY6aN7qyjMB5C1LM= me@rsa"
)
LAN = Network(
    id=1,
    name="lan",
    bridge="vmbr",
    cidr="10.88.1.0/24",
    cidr6="fd00:88::/64",
    gateway="10.88.1.254",
    dns=("10.88.1.253", "9.9.9.9"),
    domain="lab.example",
    mtu=1450,
)
SIX = Network(id=2, name="six", bridge="br6", cidr6="fd00:99::/64", gateway="fd00:99::1")
BARE = Network(id=3, name="bare", bridge="br3")
OTHER = Network(id=4, name="other", bridge="br4", cidr="10.99.0.0/16", gateway="10.99.0.1")
NETWORKS = (LAN, SIX, BARE, OTHER)


def vm(*nics: NicSpec, name: str = "web1") -> Vm:
    """A VM with these interfaces."""
    spec = VmSpec(nics=nics)
    return Vm(id=1, name=name, uuid=UUID, user="dev", spec=spec, created="2026-03-01T12:00:00Z")


def nic(index: int, network: int, ip: str | None = None, mac: str = "52:54:00:AB:CD:E") -> NicSpec:
    """An interface; its MAC ends in its index."""
    return NicSpec(index=index, network=network, mac=f"{mac}{index}", ip=ip)


CASES: dict[str, dict[str, bytes] | None] = {
    "static": cloudinit.texts(vm(nic(0, 1, "10.88.1.11")), NETWORKS, None, (ED25519.encode(),)),
    "dhcp": cloudinit.texts(
        # All digits, which YAML 1.1 would take for a number in base 60 without quotes.
        vm(nic(0, 3, mac="52:54:00:12:34:5")),
        NETWORKS,
        b"#!/bin/sh\r\necho \xc3\xa9\n",
        (),
    ),
    "many": cloudinit.texts(
        vm(
            nic(0, 1, "fd00:88::5"),
            nic(1, 2, "fd00:99::5"),
            nic(2, 1, "10.88.1.12"),
            nic(3, 4, "10.99.1.2"),
            nic(4, 3, "192.0.2.1"),  # of a network without a prefix: nothing is guessed
        ),
        NETWORKS,
        b"#cloud-config\npackages: [nginx]   # as the operator wrote it\n",
        (ED25519.encode(),),
    ),
}


def joined(texts: dict[str, bytes] | None) -> str:
    """All files of a seed as one text."""
    assert texts is not None
    return "".join(f"=== {name}\n{text.decode()}" for name, text in texts.items())


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for case, texts in CASES.items():
        (GOLDEN / f"{case}.txt").write_bytes(joined(texts).encode())
