"""`python -m core.training RUN_FOLDER`: train one run here; see `core.training.loop.main`."""

import sys

from core.training.loop import main

sys.exit(main())
