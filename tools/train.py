"""Train a model: distil an encoder (stage 1) or fine-tune a detector (stage 2)."""

import sys

from rs4d.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
