"""Draw truth and predictions side by side: one row an image, one column a model."""

import sys

from rs4d.cli.draw_predictions import main

if __name__ == '__main__':
    sys.exit(main())
