"""RS4D: state space encoders, distilled from SAM, for remote-sensing instance segmentation.

Importing the package registers its models, data sets, hooks and metrics with MMDetection, so that
``custom_imports = dict(imports=['rs4d'])`` is all that a config needs. Where MMDetection is not
installed, exported models still run: ``rs4d.ops`` can be imported there, and nothing else.
"""

from importlib.util import find_spec

__version__ = '0.1.0'
__all__ = ['__version__']

if find_spec('mmdet') is not None:
    from .compat import (
        ensure_mmcv_ops,
        format_configs_once,
        import_transforms_without_numba,
        name_configs_of,
        quiet_others,
    )

    # MMDetection imports mmcv.ops as soon as its registries fill; this has to come first.
    ensure_mmcv_ops()
    quiet_others()
    name_configs_of('rs4d')
    format_configs_once()
    import_transforms_without_numba()

    # Behind ensure_mmcv_ops, as it imports MMDetection.
    from .compat.mask_resizing import resize_masks_by_centres
    from .compat.point_grids import say_the_order_of_grids

    resize_masks_by_centres()
    say_the_order_of_grids()

    # The registries are MMEngine's to find as soon as a config names our scope, also one out of a file.
    from . import datasets, distillation, engine, evaluation, models, registry, visualization

    __all__ += ['datasets', 'distillation', 'engine', 'evaluation', 'models', 'registry']
    __all__ += ['visualization']
