"""A detector of learned queries whose head also sees the encoder's embedding."""

from mmdet.models.detectors import SingleStageDetector
from mmdet.registry import MODELS
from torch import Tensor

from rs4d.models.heads import EmbeddedPyramid


@MODELS.register_module()
class PromptQueryDetector(SingleStageDetector):
    """MMDetection's detector of one stage that hands the encoder's last map to its head, past the neck.

    The arguments are those of ``SingleStageDetector``; ``bbox_head`` is a
    :class:`~rs4d.models.heads.PromptQueryHead`. Any backbone that returns maps will do; masks are
    decoded over the last one.
    """

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            batch_inputs: Normalised images (B, 3, H, W).

        Returns:
            The neck's maps, an :class:`~rs4d.models.heads.EmbeddedPyramid` with the backbone's last
            map as ``embedding``.
        """
        maps = self.backbone(batch_inputs)
        return EmbeddedPyramid(self.neck(maps) if self.with_neck else maps, maps[-1])
