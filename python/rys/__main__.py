"""`python -m rys` is the command `rys`."""

import sys

from rys.cli import main

sys.exit(main())
