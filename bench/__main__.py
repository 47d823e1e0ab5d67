"""``python -m bench``."""

from __future__ import annotations

import signal
import sys

from bench.run import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a CI that stops the run gets its report too
    sys.exit(main(sys.argv[1:]))
