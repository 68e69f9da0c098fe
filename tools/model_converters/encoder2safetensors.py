"""Write an encoder as one safetensors file: `rs4d convert encoder2safetensors`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('convert', 'encoder2safetensors'))
