"""RS4D: state space encoders, distilled from SAM, for remote-sensing instance segmentation.

Importing the package registers its models, data sets, hooks and metrics with MMDetection, so that
``custom_imports = dict(imports=['rs4d'])`` is all that a config needs.
"""

from .compat import ensure_mmcv_ops, name_configs_of, quiet_others

# MMDetection imports mmcv.ops as soon as its registries fill; this has to come first.
ensure_mmcv_ops()
quiet_others()
name_configs_of('rs4d')

# Behind ensure_mmcv_ops, as it imports MMDetection.
from .compat.mask_resizing import resize_masks_by_centres  # noqa: E402

resize_masks_by_centres()

from . import datasets, distillation, engine, evaluation, models, visualization  # noqa: E402

__version__ = '0.1.0'
__all__ = [
    '__version__',
    'datasets',
    'distillation',
    'engine',
    'evaluation',
    'models',
    'visualization',
]
