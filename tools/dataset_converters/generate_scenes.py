"""Generate remote-sensing-like scenes with exact instance masks, as a COCO data set."""

import sys

from rs4d.cli.generate_scenes import main

if __name__ == '__main__':
    sys.exit(main())
