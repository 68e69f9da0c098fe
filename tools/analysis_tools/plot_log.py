"""Draw the curves of trainings: `rs4d plot-log`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('plot-log'))
