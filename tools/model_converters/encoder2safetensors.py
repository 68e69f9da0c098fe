"""Write an encoder of ours as one safetensors file, with its architecture as JSON in the header."""

import sys

from rs4d.cli.encoder2safetensors import main

if __name__ == '__main__':
    sys.exit(main())
