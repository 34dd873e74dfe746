"""``python -m skdefer``."""

import sys

from skdefer.cli import main

if __name__ == "__main__":
    sys.exit(main())
