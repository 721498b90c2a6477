"""A file system of one empty folder that can hang: stopped (SIGSTOP), it answers nobody.

usage: fuse.py FOLDER      as root; ends when the folder is unmounted, and takes the mount with it
                           when it is killed.
It speaks the kernel's protocol on /dev/fuse itself (linux/fuse.h): no library is needed.
"""

import ctypes
import os
import struct
import sys

BLOCKS, FREE, BLOCK = 1000, 500, 4096

_HEAD = struct.Struct("<IIQ")  # length, opcode, unique; more follows
_FORGET = 2
_ROOT = struct.pack("<6Q10I", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 0, 0)
_ANSWERS = {
    3: struct.pack("<QII", 0, 0, 0) + _ROOT,  # GETATTR, valid for 0 s: each look comes here
    17: struct.pack("<5Q3I28x", BLOCKS, FREE, FREE, 0, 0, BLOCK, 255, BLOCK),  # STATFS
    26: struct.pack("<4I2H2I2H32x", 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0),  # INIT: 7.31
    27: struct.pack("<QII", 0, 0, 0),  # OPENDIR
    28: b"",  # READDIR: nothing in it
    29: b"",  # RELEASEDIR
}
_ERRORS = {1: 2}  # LOOKUP: ENOENT
_ENOSYS = 38


def main() -> None:
    """Mount and serve."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"lab", os.fsencode(sys.argv[1]), b"fuse", 0, options) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:
            return  # unmounted
        _, opcode, unique = _HEAD.unpack_from(request)
        if opcode != _FORGET:
            body = _ANSWERS.get(opcode, b"")
            error = 0 if opcode in _ANSWERS else -_ERRORS.get(opcode, _ENOSYS)
            os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)


if __name__ == "__main__":
    main()
