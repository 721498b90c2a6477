"""What all hosts of a lab have in common: names, addresses, processes to hang on."""

from dataclasses import dataclass
from pathlib import Path

from tests.live.lab import traces


@dataclass(frozen=True, slots=True)
class Wiring:
    """The lab as its hosts see it; `janitor` and `keeper` are process ids."""

    lab_id: str
    directory: Path
    subnet: str
    janitor: int
    keeper: int
    shared: Path | None

    @property
    def controller_address(self) -> str:
        """The test process's own address in the management network."""
        return f"{self.subnet}.254"

    @property
    def vm_subnet(self) -> str:
        """The first three parts of the guests' /24; .254 in it is the test process."""
        return "10.88." + self.subnet.rpartition(".")[2]

    @property
    def mgmt_bridge(self) -> str:
        """Bridge of the management network, in the test process's network namespace."""
        return f"{traces.mark(self.lab_id)}m"

    @property
    def vm_bridge(self) -> str:
        """Bridge that joins the hosts' `vmbr`, in the test process's network namespace."""
        return f"{traces.mark(self.lab_id)}v"

    @property
    def client_key(self) -> Path:
        """Private key with which every user of every host may log in."""
        return self.directory / "id_ed25519"

    def address(self, number: int) -> str:
        """Management address of a host."""
        return f"{self.subnet}.{number}"

    def mgmt_link(self, number: int) -> str:
        """Our end of a host's management cable."""
        return f"{self.mgmt_bridge}{number}"

    def vm_link(self, number: int) -> str:
        """Our end of the cable between a host's `vmbr` and the common VM bridge."""
        return f"{self.vm_bridge}{number}"

    def mac(self, card: int, number: int) -> str:
        """A locally administered address of a host's card."""
        lab = ":".join(self.lab_id[start : start + 2] for start in (0, 2, 4))
        return f"02:{card:02x}:{lab}:{number:02x}"

    def disk(self, number: int) -> Path:
        """A host's disk folder, as seen in the janitor's mount namespace."""
        return self.directory / "disks" / f"h{number}"

    def visible(self, path: Path) -> Path:
        """A path of the janitor's mount namespace, as this process can open it."""
        return Path(f"/proc/{self.janitor}/root{path}")
