"""List all configs as a Markdown table: what they are made of, what they cost, published AP."""

import sys

from rs4d.cli.list_configs import main

if __name__ == '__main__':
    sys.exit(main())
