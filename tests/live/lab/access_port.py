"""A port of a switch that is in one VLAN: for machines whose kernel knows no 802.1Q.

usage: python -m tests.live.lab.access_port BRIDGE OUTER INNER VLAN APART

OUTER is a TAP in BRIDGE, where frames have VLAN's tag (none for 0); INNER is a TAP where they have
none, in a network namespace of this process if APART is 1. Frames of other VLANs are dropped. Says
a line when it is ready. Both TAPs go with the process.
"""

import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
_TAG = b"\x81\x00"
_LONGEST = 1 << 16
_VID = 0xFFF
_ADDRESSES = 12  # bytes before the type or the tag
MTU = 9000


def tagged(frame: bytes, vlan: int) -> bytes:
    """A frame with a VLAN's tag, as it is for VLAN 0."""
    if vlan == 0:
        return frame
    return frame[:_ADDRESSES] + _TAG + vlan.to_bytes(2, "big") + frame[_ADDRESSES:]


def untagged(frame: bytes, vlan: int) -> bytes | None:
    """A VLAN's frame without its tag; None for a frame of another VLAN."""
    start, rest = frame[:_ADDRESSES], frame[_ADDRESSES:]
    if not rest.startswith(_TAG):
        return frame if vlan == 0 else None
    if vlan == 0 or int.from_bytes(rest[2:4], "big") & _VID != vlan:
        return None
    return start + rest[4:]


def main() -> None:
    """Makes the TAPs and passes frames on until it is killed."""
    bridge, outer_name, inner_name, vlan_text, apart = sys.argv[1:6]
    vlan = int(vlan_text)
    outer = _tap(outer_name)
    _ip("link", "set", outer_name, "mtu", str(MTU), "master", bridge, "up")
    if apart == "1" and ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        raise OSError("unshare")
    inner = _tap(inner_name)
    _ip("link", "set", inner_name, "mtu", str(MTU), "up")
    if apart == "1":
        _ip("link", "set", "lo", "up")
    os.write(1, b"ready\n")
    while True:
        for ready in select.select([outer, inner], [], [])[0]:
            frame = os.read(ready, _LONGEST)
            if ready == inner:
                _write(outer, tagged(frame, vlan))
            elif (bare := untagged(frame, vlan)) is not None:
                _write(inner, bare)


def _tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _TAP_WITHOUT_HEADER))
    return tap


def _write(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except OSError:
        # The link is down: a switch drops what it cannot send.
        return


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
