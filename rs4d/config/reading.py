"""Reading a config file, with plain words for what is wrong in it."""

import contextlib
import difflib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rs4d.errors import ConfigError

from .effect import require_effect
from .number_checks import check_numbers
from .packages import find_config
from .references import expand, resolve
from .unread import check_options, check_settings


def load_config(
    path: str | os.PathLike,
    options: dict[str, Any] | None = None,
    classes: Sequence[str] = (),
) -> Config:
    """Read a config, change some of its settings and resolve its references.

    Args:
        path: The file, or the name of one that a package brings, such as ``rs4d::rs4d/...``.
        options: From dotted keys to values, as ``--cfg-options`` gives them.
        classes: Those of a model that is trained already
            (:func:`rs4d.checkpoints.trained_classes`), for data sets that would take theirs from an
            annotation file.

    Returns:
        The config, without references: what it holds is what runs.

    Raises:
        ConfigError: It is missing, does not read, an option does not fit it or changes nothing, a
            reference leads nowhere, something is set that nothing reads, or a number cannot be what
            it is.
        UserError: The annotation file that the classes are taken from cannot be read.
    """
    file = find_config(path)
    if not file.is_file():
        raise ConfigError(f"The config '{file}' does not exist.{_similar(file)}")
    try:
        with _literal_environment():
            cfg = Config.fromfile(file)
    except FileNotFoundError as error:
        raise ConfigError(
            f"The config '{file}' cannot be read because a file that it names in _base_ is "
            f'missing: {error}. Paths in _base_ are relative to the file that has them.'
        ) from error
    except SyntaxError as error:
        raise ConfigError(
            f"The config '{file}', or one in its _base_, is not valid Python: {error}. Correct it "
            'there.'
        ) from error
    except KeyError as error:
        if 'Duplicate key' not in str(error):
            raise
        raise ConfigError(
            f"Several files in _base_ of '{file}', or of one below it, set the same: {error.args[0]} "
            'MMEngine allows one of them. Write such settings into the config itself instead.'
        ) from error
    check_options(cfg, options or ())
    for key, value in (options or {}).items():
        with contextlib.suppress(KeyError, IndexError):  # MMEngine says whether a new setting fits
            expand(cfg._cfg_dict, key)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"The option {key}={value} does not fit the config '{file}': {error}. Look up the "
                'key there and in its _base_ files; items of lists are numbered from 0, as in '
                'param_scheduler.1.end=12.'
            ) from error
    require_effect(cfg, options or {})
    resolve(cfg, classes)
    check_settings(cfg)
    check_numbers(cfg)
    return cfg


@contextlib.contextmanager
def _literal_environment() -> Iterator[None]:
    """Escape this package's environment variables while a config is read.

    MMEngine puts them into the text of the config by a regular expression, where a quote or a
    backslash in a folder's name would end the string, or the run.
    """
    values = {name: value for name, value in os.environ.items() if name.startswith('RS4D_')}
    for name, value in values.items():
        literal = re.sub(r'([\'"\\])', r'\\\1', value)
        os.environ[name] = literal.replace('\\', '\\\\')  # once more, for the expression
    try:
        yield
    finally:
        os.environ.update(values)


def _similar(file: Path) -> str:
    known = {
        path.as_posix() for path in Path('configs').rglob('*.py') if '_base_' not in path.parts
    }
    if file.parent.is_dir():
        known |= {path.as_posix() for path in file.parent.glob('*.py')}
    by_name = {Path(path).name: path for path in sorted(known)}
    close = difflib.get_close_matches(file.as_posix(), sorted(known), n=3, cutoff=0.7)
    close += [by_name[name] for name in difflib.get_close_matches(file.name, sorted(by_name), n=3)]
    if close:
        return f' Did you mean {" or ".join(dict.fromkeys(close))}?'
    return f" Give the path of a config, from the working directory '{Path.cwd()}'."
