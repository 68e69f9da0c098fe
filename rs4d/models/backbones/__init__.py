"""Image encoders: `RSMamba`, and the networks that teach it or compare with it."""

from .encoder import Encoder
from .rsmamba import RSMamba
from .sam_vit import SAMViT
from .timm_encoder import TimmEncoder
from .transformers_sam import TransformersSAM

__all__ = ['Encoder', 'RSMamba', 'SAMViT', 'TimmEncoder', 'TransformersSAM']
