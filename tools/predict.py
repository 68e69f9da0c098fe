"""Predict images and scenes: `rs4d predict`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('predict'))
