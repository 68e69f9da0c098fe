"""Train a model: `rs4d train`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('train'))
