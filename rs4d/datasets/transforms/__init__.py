"""Transforms of the training and test pipelines."""

from .geometry import CropKeepingBoxes, PadKeepingShape
from .load_image import LoadImage
from .load_raster import LoadRaster, raster_loader

__all__ = ['CropKeepingBoxes', 'LoadImage', 'LoadRaster', 'PadKeepingShape', 'raster_loader']
