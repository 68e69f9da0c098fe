"""Measure speed and memory: `rs4d benchmark`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('benchmark'))
