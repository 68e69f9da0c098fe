"""Run the teacher of stage 1 once and keep its embeddings: `rs4d cache-teacher`."""

import sys

from rs4d_command import main

if __name__ == '__main__':
    sys.exit(main('cache-teacher'))
