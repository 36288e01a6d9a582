"""A mirror of the runs at a team's MLflow server: a process of its own reads run folders and sends.

Training never waits for it and never imports MLflow; the run folder stays the only truth.
"""

from core.tracking.address import VARIABLE, Address, address
from core.tracking.start import Mirroring, ensure, mirroring, process, stop

__all__ = ["VARIABLE", "Address", "Mirroring", "address", "ensure", "mirroring", "process", "stop"]
