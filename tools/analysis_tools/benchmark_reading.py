"""Compare how fast images are read: from tar shards, from files, and without reduced decoding."""

import sys

from rs4d.cli.benchmark_reading import main

if __name__ == '__main__':
    sys.exit(main())
