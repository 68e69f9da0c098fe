"""Check all data sets of a config for what makes AP 0 or -1, and print everything that is found."""

import sys

from rs4d.cli.check_dataset import main

if __name__ == '__main__':
    sys.exit(main())
