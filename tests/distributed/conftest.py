"""What the tests of the tools have as well: tiny configs, and trainings in processes."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / 'tools'))
