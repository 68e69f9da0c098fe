"""Configs that packages bring, under the names that MMEngine gives them: ``rs4d::PATH``."""

import ast
import functools
import os
from pathlib import Path

from mmengine.config import Config

from rs4d.errors import ConfigError

# Where MMEngine looks; in a checkout its configs/ is a link to that of the checkout.
SHIPPED = Path(__file__).parents[1] / '.mim'
FOLDERS = ('rs4d', 'baselines', 'backbones', 'distill', 'demo')


def find_config(path: str | os.PathLike[str]) -> Path:
    """Find the file of a config.

    Args:
        path: A path, or the name of a config that a package brings, such as
            ``rs4d::rs4d/rs4d-tiny_bbox_ssdd.py`` or ``mmdet::solo/solo_r50_fpn_1x_coco.py``.

    Returns:
        The file; a path is returned as it is.

    Raises:
        ConfigError: The package does not bring it, or is not there.
    """
    name = os.fspath(path)
    if '::' not in name:
        return Path(name)
    try:
        return Path(Config._get_cfg_path(name, '')[0])
    except (AssertionError, FileNotFoundError, ModuleNotFoundError, ValueError) as error:
        raise ConfigError(
            f"There is no config '{name}': {error}. `rs4d configs` lists those of rs4d."
        ) from error


def leaf_configs(root: Path) -> list[Path]:
    """Find the configs in ``root / 'configs'`` that can be run, by folder and name.

    Raises:
        ConfigError: There are none.
    """
    found = [
        file for folder in FOLDERS for file in sorted((root / 'configs' / folder).rglob('*.py'))
    ]
    if not found:
        raise ConfigError(f"There are no configs under '{root / 'configs'}'. Name another folder.")
    return found


@functools.cache
def base_settings() -> frozenset[str]:
    """The names that the package's own bases set.

    Not every config that takes one of them takes the other that reads such a name.
    """
    trees = (
        ast.parse(file.read_text(encoding='utf-8'))
        for file in (SHIPPED / 'configs' / '_base_').rglob('*.py')
    )
    assignments = (node for tree in trees for node in tree.body if isinstance(node, ast.Assign))
    targets = (target for assignment in assignments for target in assignment.targets)
    return frozenset(target.id for target in targets if isinstance(target, ast.Name))
