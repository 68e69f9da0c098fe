"""Check the data sets of a config: `rs4d check`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('check'))
