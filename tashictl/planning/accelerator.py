"""What a host's KVM was found to be, in words, and what can be done about it."""

from __future__ import annotations

from tashictl.planning.facts import Reading

_MODULES = {"vmx": "kvm_intel", "svm": "kvm_amd"}


def explain(reading: Reading, cpu_model: str) -> tuple[str, str]:
    """What was seen and the remedy; an empty one where KVM is used or nothing is to be done."""
    ground = reading.ground
    flag = ground.cpu_flag if ground is not None else ""
    user = ground.user if ground is not None else "the login"
    match reading.kvm:
        case "usable":
            return "kvm", ""
        case "absent" if flag in _MODULES:
            seen = f"tcg: no /dev/kvm, though the processor has {flag}"
            return seen, f"modprobe {_MODULES[flag]}"
        case "absent":
            return (
                "tcg: no /dev/kvm",
                "enable VT-x or AMD-V in the firmware (of a VM: nested virtualisation)\n"
                "without it guests run, ten times slower",
            )
        case "forbidden":
            return (
                f"tcg: {user} may not open /dev/kvm",
                f"on the host, as root: usermod -aG kvm {user}",
            )
        case "hangs":
            return (
                "tcg: KVM hangs, a guest of 16 bytes did not end in 3 s",
                "dmesg on the host; a nested KVM may be half broken: then stay with tcg",
            )
        case "refused":
            return (
                f"tcg: KVM cannot show the processor {cpu_model}",
                "[Qemu] cpuModel: an older baseline such as x86-64-v1, or stay with tcg",
            )
        case _:
            return reading.facts.accel, ""
