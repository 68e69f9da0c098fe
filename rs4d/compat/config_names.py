"""MMEngine's table of the packages whose configs have names such as ``mmdet::PATH``."""

from mmengine.config.utils import MODULE2PACKAGE


def name_configs_of(package: str) -> None:
    """Let ``PACKAGE::PATH`` name the configs in a package's ``.mim/configs``.

    Args:
        package: A package that is installed under its own name.
    """
    MODULE2PACKAGE.setdefault(package, package)
