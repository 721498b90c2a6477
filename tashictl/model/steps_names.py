"""Steps that happen at the servers of names and addresses; `host` is where the VM is.

But for `ProbeAddress`, which is a script like others, they carry no fence, and need none: every one
looks at what is there and whose it is, within one atomic request of the server where it has such.
"""

from __future__ import annotations

from typing import ClassVar

from tashictl.model.naming import DhcpEntry, DnsEntry
from tashictl.model.steps_base import HostStep, StepClass


class ProbeAddress(HostStep, frozen=True, kw_only=True, tag=True):
    """Ask on the wire whether somebody has an address; fails and says who, unless it is `mac`.

    `device` is what the host asks on. Where it cannot ask, the step says so and passes.
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    address: str
    mac: str
    device: str
    network: str
    network_id: int


class AddDhcp(HostStep, frozen=True, kw_only=True, tag=True):
    """Register an interface with the DHCP server of its network, if it is free or ours."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    scripted: ClassVar[bool] = False
    entry: DhcpEntry


class AddDns(HostStep, frozen=True, kw_only=True, tag=True):
    """Register a name and its addresses in the forward and reverse zones, if free or ours."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    scripted: ClassVar[bool] = False
    entry: DnsEntry


class RemoveDns(HostStep, frozen=True, kw_only=True, tag=True):
    """Remove from DNS what carries the entry's mark: those values, and nothing else."""

    scripted: ClassVar[bool] = False
    entry: DnsEntry


class RemoveDhcp(HostStep, frozen=True, kw_only=True, tag=True):
    """Remove an interface from the DHCP server of its network, if it carries the entry's mark."""

    scripted: ClassVar[bool] = False
    entry: DhcpEntry
