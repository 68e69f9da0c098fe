"""Score a checkpoint: COCO AP of boxes and masks, or for stage 1 the agreement with the teacher."""

import sys

from rs4d.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
