"""Make COCO instance annotations from the label TIFFs of the WHU building data set."""

import sys

from rs4d.cli.whu2coco import main

if __name__ == '__main__':
    sys.exit(main())
