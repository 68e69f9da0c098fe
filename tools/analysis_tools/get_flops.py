"""Count parameters and multiply-adds: `rs4d flops`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('flops'))
