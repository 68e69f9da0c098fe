"""Draw the curves of several training runs together."""

import sys

from rs4d.cli.plot_log import main

if __name__ == '__main__':
    sys.exit(main())
