"""Make COCO annotations of the WHU building data set: `rs4d convert whu2coco`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('convert', 'whu2coco'))
