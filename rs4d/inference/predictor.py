"""A trained model in Python: images in, plain results out."""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from rs4d.checkpoints import trained_classes
from rs4d.checkpoints.checks import check_checkpoint, require_checkpoint, require_classes
from rs4d.checkpoints.reading import read_checkpoint
from rs4d.config import inner_datasets, load_config
from rs4d.config.effect import require_effect
from rs4d.config.known_types import require_known_types
from rs4d.config.portable import prediction_pipeline
from rs4d.config.stored import config_from_text
from rs4d.config.unread import check_options
from rs4d.engine.precision import choose_dtype, predict_in_dtype
from rs4d.engine.shares import default_device
from rs4d.errors import ConfigError, UserError
from rs4d.geo.extra import MissingExtraError
from rs4d.geo.raster import Raster

from .reading import orientation_of, upright_place
from .results import Instances
from .scene import Limit

# Where models of one stage, of two and those with queries say how many objects they give.
_LIMITS = ('max_per_img', 'rcnn.max_per_img', 'max_per_image')


class Predictor:
    """A detector with its weights, and its config's test pipeline.

    Args:
        config: A path (``rs4d::PATH`` is one that RS4D brings), a config that has been read, or None
            for the one that the checkpoint was trained with.
        checkpoint: The file of weights.
        device: Where it computes; a GPU if there is one, by default.
        amp: Mixed precision, ``'bf16'``, ``'fp16'`` or ``'auto'``; None leaves it to the config's
            ``dtype``.
        score_thr: Objects that are less sure are left out.
        options: Settings of the config to change.

    Attributes:
        cfg: The config.
        classes: Names of the classes, by label.
        loader: The step of the pipeline that loads images, such as ``LoadRaster``.
        device: Where it computes.
        limit: How many objects of one image the model gives at most; None where its config does not say.

    Raises:
        UserError: The config or the checkpoint is not there, or they do not fit each other.

    Example:
        >>> from rs4d.apis import Predictor
        >>> predictor = Predictor('rs4d::rs4d/rs4d-tiny_light_ssdd.py', 'latest.pth')
        >>> found = predictor.predict('image.jpg')
        >>> found.boxes, found.scores, found.class_names, found.masks, found.polygons
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config | None,
        checkpoint: str | os.PathLike[str],
        device: str | torch.device | None = None,
        *,
        amp: str | None = None,
        score_thr: float = 0.3,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.checkpoint = os.fspath(checkpoint)
        require_checkpoint(self.checkpoint, 'the arguments')
        known = trained_classes(self.checkpoint)
        self.cfg = read_model_config(config, self.checkpoint, options)
        choose_dtype(self.cfg, amp, training=False)
        self.device = torch.device(device or default_device())
        self.score_thr = score_thr
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.model: Any = MODELS.build(self.cfg.model)
            steps = [TRANSFORMS.build(step) for step in prediction_pipeline(self.cfg)]
        check_checkpoint(self.model, self.checkpoint, 'the arguments', complete=True)
        require_classes(self.model, known, self.checkpoint)
        self.model.to(self.device).eval()
        predict_in_dtype(self.model, self.cfg.get('dtype', 'float32'))
        self.loader, self._prepare = steps[0], Compose(steps[1:])
        self.limit = _limit(self.cfg)
        self.classes = known or stated_classes(self.cfg)

    @property
    def side(self) -> int:
        """The largest square, in pixels, that the test pipeline does not make smaller."""
        for step in self._prepare.transforms:
            scale = getattr(step, 'scale', None)
            if scale is not None:
                return int(min(scale))
        return 512

    def predict(self, image: str | os.PathLike[str] | np.ndarray) -> Instances:
        """Find the objects of one image, taken as a whole; scenes are for ``rs4d predict``.

        Args:
            image: A file that the config's loading step reads, or an array (H, W, C): what that step
                would give, which is BGR of 8 bits, or bands from 0 to 255 for ``LoadRaster``.

        Raises:
            UserError: The image cannot be read, or the array is none of these.
        """
        (found,) = self.predict_batch([image])
        return found

    def predict_batch(
        self, images: Sequence[str | os.PathLike[str] | np.ndarray]
    ) -> list[Instances]:
        """Find the objects of several images at once; see `predict`."""
        loaded = [
            self.load(image) if isinstance(image, str | os.PathLike) else _require_values(image)
            for image in images
        ]
        found = self.infer([self.prepare(image) for image in loaded])
        places = [
            None if isinstance(image, np.ndarray) else _place(image, self.loader)
            for image in images
        ]
        pairs = zip(found, places, strict=True)
        return [replace(one, georeference=place) for one, place in pairs]

    def load(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Load an image as the config does, (H, W, C).

        Raises:
            UserError: It cannot be read.
        """
        return np.asarray(self.loader(dict(img_path=os.fspath(path), img_id=0))['img'])

    def prepare(self, image: np.ndarray) -> dict[str, Any]:
        """Bring a loaded image (H, W, C) through the rest of the test pipeline.

        Raises:
            ConfigError: It is no such array.
        """
        if image.ndim != 3:
            raise ConfigError(f'An image is an array (height, width, bands), not {image.shape}.')
        mean = getattr(self.model.data_preprocessor, 'mean', None)
        if mean is not None and mean.numel() not in (1, image.shape[2]):
            raise ConfigError(
                f'The image has {image.shape[2]} bands, and the model takes {mean.numel()}. Give those '
                "that it was trained with; of a raster they are chosen by LoadRaster's bands."
            )
        shape = image.shape[:2]
        results = dict(img=image, img_shape=shape, ori_shape=shape, img_path='', img_id=0)
        return dict(self._prepare(results))

    def infer(self, prepared: Sequence[Mapping[str, Any]]) -> list[Instances]:
        """Run the model on images that `prepare` returned, as one batch."""
        if not prepared:
            return []
        data = dict(
            inputs=[item['inputs'] for item in prepared],
            data_samples=[item['data_samples'] for item in prepared],
        )
        with torch.inference_mode(), DefaultScope.overwrite_default_scope('mmdet'):
            samples = self.model.test_step(data)
        return [self._plain(sample) for sample in samples]

    def _plain(self, sample: Any) -> Instances:
        """MMDetection's result as arrays, without what is less sure than asked for."""
        found = sample.pred_instances
        if 'masks' not in found:
            raise ConfigError(
                f'The model of {self.cfg.filename} finds boxes and no masks; RS4D predicts instances.'
            )
        found = found[found.scores >= self.score_thr]
        found = found[found.scores.argsort(descending=True, stable=True)]
        labels = found.labels.cpu().numpy()
        if len(labels) and labels.max() >= len(self.classes):
            # A model whose checkpoint and config name fewer classes than it has.
            extra = (f'class {number}' for number in range(len(self.classes), labels.max() + 1))
            self.classes = (*self.classes, *extra)
        return Instances(
            found.bboxes.float().cpu().numpy().reshape(-1, 4),
            found.scores.float().cpu().numpy(),
            labels,
            found.masks.cpu().numpy().astype(bool, copy=False),
            self.classes,
        )


def _require_values(image: Any) -> np.ndarray:
    """Raise unless an array has the values that a loading step gives; models take any in silence."""
    if not isinstance(image, np.ndarray):
        raise ConfigError(f'An image is a path or an array of NumPy, not a {type(image).__name__}.')
    if image.dtype == np.uint8 and image.size:
        return image
    wrong = ''
    if not image.size:
        wrong = 'no pixel'
    elif image.dtype.kind != 'f':
        wrong = f'values of type {image.dtype}'
    elif not np.isfinite(image).all():
        wrong = 'values that are NaN or infinite'
    elif image.min() < 0 or image.max() > 255 or 0 < image.max() <= 1:
        wrong = f'values from {image.min():.4g} to {image.max():.4g}'
    if wrong:
        raise ConfigError(
            f'The array has {wrong}. Give 8 bits (uint8), or floating-point numbers from 0 to 255, or '
            "the path of a file, which the config's own steps load."
        )
    return image.astype(np.float32, copy=False)


def read_model_config(
    config: str | os.PathLike[str] | Config | None,
    checkpoint: str,
    options: Mapping[str, Any] | None,
) -> Config:
    """Read the config of a trained detector.

    Args:
        config: As for `Predictor`.
        checkpoint: The file of weights, which may hold the config.
        options: Settings of the config to change.

    Raises:
        UserError: It is not there, has such settings not, or holds no detector.
    """
    if isinstance(config, str | os.PathLike):
        return load_config(config, dict(options or {}), trained_classes(checkpoint))
    if config is not None:
        cfg = copy.deepcopy(config)
    else:
        content = read_checkpoint(checkpoint)
        text = (content.get('meta') or {}).get('cfg') if isinstance(content, Mapping) else None
        if not isinstance(text, str):
            raise ConfigError(
                f"The checkpoint '{checkpoint}' does not hold its config. Name the config that it was "
                'trained with.'
            )
        cfg = config_from_text(text, checkpoint)
        if 'model' not in cfg:
            raise ConfigError(
                f"The file '{checkpoint}' holds an encoder alone, which finds no objects. Fine-tune "
                'it, or name a detector.'
            )
        require_known_types([cfg.model, prediction_pipeline(cfg)], checkpoint)
    if options:
        check_options(cfg, options)
        cfg.merge_from_dict(dict(options))
        require_effect(cfg, options)
    return cfg


def _limit(cfg: Config) -> Limit | None:
    for name in _LIMITS:
        value: Any = cfg.model.get('test_cfg')
        for part in name.split('.'):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int) and value > 0:
            return Limit(f'model.test_cfg.{name}', value)
    return None


def stated_classes(cfg: Config) -> tuple[str, ...]:
    """Names of the classes that a config's data sets have; none if it does not say."""
    for loader in ('test_dataloader', 'train_dataloader'):
        for dataset in inner_datasets(cfg.get(loader, {}).get('dataset', [])):
            classes = (dataset.get('metainfo') or {}).get('classes')
            if classes:
                return (classes,) if isinstance(classes, str) else tuple(classes)
    return ()


def _place(path: str | os.PathLike[str], loader: Any) -> Any:
    """Where an image lies on the map; None if it does not say, or nothing here can read that."""
    if Path(path).suffix.lower() in ('.jpg', '.jpeg', '.png', '.bmp'):
        return None
    try:
        with Raster.open(path) as raster:
            place, height, width = raster.georeference, raster.height, raster.width
        turn = orientation_of(path, loader)
        return upright_place(place, turn, *((width, height) if turn >= 5 else (height, width)))
    except (MissingExtraError, UserError):
        return None
