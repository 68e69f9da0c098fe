"""Say how much of its steps a training spent waiting for data."""

import sys

from rs4d.cli.data_time import main

if __name__ == '__main__':
    sys.exit(main())
