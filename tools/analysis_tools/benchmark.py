"""Compare encoders: time, memory, parameters and multiply-adds, at several input sizes."""

import sys

from rs4d.cli.benchmark import main

if __name__ == '__main__':
    sys.exit(main())
