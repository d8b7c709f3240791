"""Keep freed memory in the process instead of handing it back to the system after every step."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
KEEP = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks; without it a training step spends its time in page faults.

    Returns:
        Whether the C library understood; elsewhere than on glibc nothing changes.
    """
    try:
        library = ctypes.CDLL(None)
        return bool(library.mallopt(M_MMAP_MAX, 0)) and bool(library.mallopt(M_TRIM_THRESHOLD, KEEP))
    except (OSError, AttributeError):
        return False
