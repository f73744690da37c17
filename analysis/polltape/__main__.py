"""``python -m polltape`` is the same program as ``polltape``."""

import sys

from polltape.cli import main

sys.exit(main())
