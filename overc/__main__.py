"""`python -m overc` is overcli."""

import sys

from overc.cli import main

sys.exit(main())
