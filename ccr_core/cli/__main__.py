"""``python -m ccr_core.cli`` is ``ccr``."""

import sys

from ccr_core.cli import main

sys.exit(main())
