"""Measure the peak memory of a config's training steps, on the CPU, in a process of its own."""

import sys

from rs4d.cli.training_memory import main

if __name__ == '__main__':
    sys.exit(main())
