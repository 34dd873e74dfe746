"""Which processes live: those that claim a row, and the one that this one works for."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from pathlib import Path


def is_orphan() -> bool:
    """Tell whether this is a worker process (of joblib, multiprocessing) without its parent.

    Returns
    -------
    orphan : bool
        Always False in a main process, which may have lost its own parent on purpose.
    """
    parent = parent_process()
    if parent is None or os.getppid() == parent.pid:
        return False
    # A fork server may stand between the two.
    return os.getppid() == 1 or (parent.pid is not None and birth_of(parent.pid) is None)


def birth_of(pid: int) -> str | None:
    """Tell when a process began, "" where the system doesn't say; None: there is none."""
    try:
        # After the name, which may hold anything: the state, and the time of birth (proc(5)).
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    if os.name == "posix":  # on Windows signal 0 is Ctrl-C; there the lease decides
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:  # it is somebody else's
            return ""
    return ""
