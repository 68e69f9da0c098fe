"""List the configs: `rs4d configs`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('configs'))
