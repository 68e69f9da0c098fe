"""Turn a student file published by the method's authors into a checkpoint for stage 2."""

import sys

from rs4d.cli.authors2rs4d import main

if __name__ == '__main__':
    sys.exit(main())
