"""The command ``rs4d``, which the files in ``tools/`` call as well.

Python runs a package's ``__init__`` before any module inside of it, and that of rs4d registers its
parts with MMDetection, which takes seconds. So this module is none of the package: it makes the
package known, lets `rs4d.cli` read the arguments, and runs the ``__init__`` when there is work to do.
"""

import importlib
import importlib.util
import sys


def main(*command: str) -> int:
    """Run a sub-command with the arguments of this process.

    Args:
        *command: The sub-command's words, where a file in ``tools/`` stands for it.

    Returns:
        The exit code.
    """
    words = [*command, *sys.argv[1:]]
    try:
        return _main(words)
    except KeyboardInterrupt:
        # While Python imports: a sub-command that has begun ends by itself.
        sys.stderr.write(f'\n{words[0] if words else "rs4d"}: interrupted. Nothing was written.\n')
        return 130


def _main(words: list[str]) -> int:
    spec = importlib.util.find_spec('rs4d')
    assert spec is not None
    assert spec.loader is not None
    imported = 'rs4d' in sys.modules
    if not imported:
        sys.modules['rs4d'] = importlib.util.module_from_spec(spec)
    cli = importlib.import_module('rs4d.cli')
    args = cli.parse(words)
    if not imported:
        importlib.import_module('rs4d.cli.threads').set_threads()
        spec.loader.exec_module(sys.modules['rs4d'])
    return cli.run(args)


if __name__ == '__main__':
    sys.exit(main())
