"""Generate scenes with instance masks: `rs4d generate-scenes`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('generate-scenes'))
