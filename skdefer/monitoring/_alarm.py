"""What a monitor says once something has moved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alarm:
    """What has moved, since when, and by how much.

    Parameters
    ----------
    quantity : str
        What moved; a row of ``DeferralMonitor.report()``.
    direction : {"rose", "fell"}
    row : int
        Where it was noticed: a position among the rows decided, or checked (``counted``).
    since : int
        Where the change most likely began.
    reference : float
        The rate that was promised.
    estimate : float
        The rate since then. Few rows and the choice of the start make the change look larger than
        it is; ``DeferralMonitor.report()`` goes on with it.
    counted : {"decided", "checked"}
        What positions count: rows that came with scores, or rows that came with the truth.

    Examples
    --------
    >>> from skdefer.monitoring import Alarm
    >>> print(Alarm("deferral_rate", "rose", 620, 500, 0.2, 0.5, "decided"))
    deferral_rate rose from 0.2 to 0.5 since row 500 (noticed at row 620 of those decided)
    """

    quantity: str
    direction: str
    row: int
    since: int
    reference: float
    estimate: float
    counted: str

    def __str__(self) -> str:
        return (
            f"{self.quantity} {self.direction} from {self.reference:.3g} to {self.estimate:.3g} "
            f"since row {self.since} (noticed at row {self.row} of those {self.counted})"
        )
