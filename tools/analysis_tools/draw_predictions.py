"""Draw truth and predictions side by side: `rs4d draw`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('draw'))
