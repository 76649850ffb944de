"""Start a program that dies with its parent and, where asked, as another user; then become it.

Run by path with `python -I -S`, so it imports nothing of ours and costs 20 ms:

    launch.py PARENT_PID DEATH_SIGNAL UID GID SEARCH -- PROGRAM ARGUMENT…

UID -1 keeps the user. SEARCH 1 lets an unprivileged user through folders that are closed to it (a data folder
below /root): PostgreSQL refuses to run as root, and opening root's home to everybody is not ours to decide.
On other systems than Linux the parent's death is noticed at the next start only (see `child.end_stale`).
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    parent, signal, uid, gid, search = (int(word) for word in arguments[:5])
    program = arguments[6:]
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0:
        become(libc, uid, gid, search=bool(search))
    if sys.platform == "linux":
        # After the change of user, which clears it; checked afterwards, since the parent may be dead by now.
        libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(program[0], program)


def become(libc: ctypes.CDLL, uid: int, gid: int, *, search: bool) -> None:
    """Give up root; with `search`, keep the right to pass closed folders."""
    if search:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if search:
        keep_search(libc)


def keep_search(libc: ctypes.CDLL) -> None:
    """Only these two capabilities, handed on through exec."""
    bits = (1 << CAP_DAC_OVERRIDE) | (1 << CAP_DAC_READ_SEARCH)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(
        bits, bits, bits, 0, 0, 0
    )  # effective, permitted, inheritable; then the high halves
    if libc.capset(header, data) != 0:
        sys.exit("launch: this container does not let an unprivileged user keep CAP_DAC_OVERRIDE")
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
