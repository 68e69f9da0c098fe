"""Convert an encoder for the method's authors' code: `rs4d convert rs4d2authors`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('convert', 'rs4d2authors'))
