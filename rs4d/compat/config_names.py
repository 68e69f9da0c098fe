"""MMEngine's table of the packages whose configs have names such as ``mmdet::PATH``."""

from mmengine.config.utils import MODULE2PACKAGE


def name_configs_of(package: str) -> None:
    """Let ``PACKAGE::PATH`` name the configs in an installed package's ``.mim/configs``."""
    MODULE2PACKAGE.setdefault(package, package)
