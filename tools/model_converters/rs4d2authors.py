"""Turn an encoder of ours into a file as the method's authors publish theirs."""

import sys

from rs4d.cli.rs4d2authors import main

if __name__ == '__main__':
    sys.exit(main())
