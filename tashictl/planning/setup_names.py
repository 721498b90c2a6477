"""What `host setup` makes on a host, by name."""

from __future__ import annotations

USER = "tashi-qemu"  # whom QEMU runs as, and its group
MARK = "# made by tashictl host setup"  # tells our files from an operator's own
SUDOERS = "/etc/sudoers.d/tashictl"
MODULES = "/etc/modules-load.d/tashictl.conf"
KVM = "/dev/kvm"
