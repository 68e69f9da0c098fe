"""Count parameters and multiply-adds of a config's backbone or whole model, scan included."""

import sys

from rs4d.cli.get_flops import main

if __name__ == '__main__':
    sys.exit(main())
