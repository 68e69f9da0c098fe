"""Score a checkpoint: `rs4d test`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('test'))
