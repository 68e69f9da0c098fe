"""Convert a student file of the method's authors: `rs4d convert authors2rs4d`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('convert', 'authors2rs4d'))
