"""Runs a program as systemd would under a unit's SystemCallFilter: `python under_filter.py UNIT PROGRAM ARGUMENT...`.

Whatever the filter leaves out fails with EPERM, as SystemCallErrorNumber of the units says. Only for x86-64.
"""

import ctypes
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _EPERM = 0x7FFF0000, 0x00050001
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


def allowed_calls(unit: Path) -> set[str]:
    """Return the calls that the filter lines of a unit allow, applied in order."""
    listing = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in listing.splitlines():
        if line.startswith("@"):
            members = groups[line.strip()] = []
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())

    def expanded(name: str) -> set[str]:
        return set().union(*map(expanded, groups[name])) if name.startswith("@") else {name}

    allowed: set[str] = set()
    for line in unit.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            names = line.partition("=")[2]
            calls = set().union(*map(expanded, names.removeprefix("~").split()))
            allowed = allowed - calls if names.startswith("~") else allowed | calls
    return allowed


def install(calls: set[str]) -> None:
    """Have every other call of this process and its children fail."""
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", HEADER.read_text()))
    wanted = sorted(int(numbers[name]) for name in calls if name in numbers)
    program = struct.pack("<HBBI", _LOAD_NUMBER, 0, 0, 0)
    for number in wanted:
        program += struct.pack("<HBBI", _JUMP_IF_EQUAL, 0, 1, number) + struct.pack("<HBBI", _RETURN, 0, 0, _ALLOW)
    program += struct.pack("<HBBI", _RETURN, 0, 0, _EPERM)
    code = ctypes.create_string_buffer(program, len(program))
    filters = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, filters, 0, 0):
        raise OSError(ctypes.get_errno(), "no system call filter can be set here")


if __name__ == "__main__":
    install(allowed_calls(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
