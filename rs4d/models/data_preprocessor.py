"""Normalisation of images with any number of bands."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS
from torch import Tensor

from rs4d.errors import ConfigError


@MODELS.register_module()
class BandsDataPreprocessor(DetDataPreprocessor):
    """MMDetection's, which takes 1 or 3 bands, for any number, in the order in which they are loaded.

    Args:
        mean: Of each band, on the scale of the loaded image, 0 to 255.
        std: Standard deviation of each band likewise.
        **kwargs: MMDetection's ``DetDataPreprocessor``; ``bgr_to_rgb`` is for three bands alone.

    Attributes:
        num_bands: How many bands images have.

    Raises:
        ConfigError: Mean and standard deviation are of different numbers of bands, one of the latter
            is not above 0, or bands would be turned that are not three.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_bands = len(mean)
        if len(std) != len(mean) or not mean or min(std) <= 0:
            raise ConfigError(
                f'BandsDataPreprocessor: mean={list(mean)} and std={list(std)} should have a number for '
                'each band, and std be above 0. rs4d stats prints them.'
            )
        if self._channel_conversion and self.num_bands != 3:
            raise ConfigError(
                f'BandsDataPreprocessor: bgr_to_rgb turns three bands, and mean has {self.num_bands}. '
                "Leave it out, and choose the order of the bands by LoadRaster's bands."
            )
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            numbers = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, numbers, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise, pad and stack; see MMDetection's.

        Raises:
            ConfigError: An image has another number of bands.
        """
        images: Sequence[Tensor] | Tensor = data['inputs']
        for image in images:
            if image.shape[0] != self.num_bands:
                raise ConfigError(
                    f'An image has {image.shape[0]} bands, and the model is for {self.num_bands}. Make '
                    "LoadRaster's bands agree with mean and std of model.data_preprocessor."
                )
        return super().forward(data, training)
