"""MMEngine's way from names such as ``mmdet::PATH`` to the configs that packages bring."""

import mmengine.config.config
from mmengine.config.utils import MODULE2PACKAGE, _get_external_cfg_path


def name_configs_of(package: str) -> None:
    """Let ``PACKAGE::PATH`` name the configs in an installed package's ``.mim/configs``.

    Bases are looked for there at once, whichever package's they are: MMEngine would first read all
    metafiles of the package, a hundred in MMDetection's case, none of which names a base.
    """
    MODULE2PACKAGE.setdefault(package, package)
    mmengine.config.config._get_external_cfg_path = _path_by_metafiles


def _path_by_metafiles(package_path: str, name: str) -> str:
    if name.startswith('_base_/'):
        raise ValueError(f'{name} is a base')
    return _get_external_cfg_path(package_path, name)
