"""Parts of the sensitivity page: the live lab, sweeps and their views, and the queue."""
