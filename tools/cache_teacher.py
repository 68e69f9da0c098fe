"""Run the teacher of stage 1 once over the images and keep its embeddings on disk."""

import sys

from rs4d.cli.cache_teacher import main

if __name__ == '__main__':
    sys.exit(main())
