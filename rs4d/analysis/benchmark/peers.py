"""RSMamba as one writes it out of Hugging Face's parts: the peer for numbers and for speed."""

import torch
from torch import Tensor, nn
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from rs4d.models.backbones import RSMamba
from rs4d.models.backbones.rsmamba import BidirectionalMambaMixer


class HuggingFaceRSMamba(nn.Module):
    """The function of an `RSMamba` computed by ``transformers``' ``MambaMixer``.

    The mixer runs forwards, and backwards on the flipped sequence; the two results are averaged.
    This is how the published code of the method is built. Only the size of the position embedding
    is accepted as input.

    Args:
        ours: The encoder whose architecture and weights are copied.
    """

    def __init__(self, ours: RSMamba) -> None:
        super().__init__()
        mixer = ours.get_submodule('layers.0')
        assert isinstance(mixer, BidirectionalMambaMixer)
        config = MambaConfig(
            hidden_size=ours.embed_dims,
            state_size=mixer.d_state,
            conv_kernel=mixer.conv1d.kernel_size[0],
            time_step_rank=mixer.dt_rank,
            num_hidden_layers=ours.num_layers,
            use_bias=False,
        )
        config.intermediate_size = mixer.inner_dims  # the constructor knows multiples only
        self.patch = nn.Conv2d(
            ours.patch_embed.projection.in_channels,
            ours.embed_dims,
            ours.patch_size,
            stride=ours.patch_size,
        )
        self.pos_embed = nn.Parameter(torch.empty_like(ours.pos_embed))
        self.pre_norm = nn.LayerNorm(ours.embed_dims, eps=ours.pre_norm.eps)
        self.ln1 = nn.LayerNorm(ours.embed_dims, eps=ours.ln1.eps)
        self.layers = nn.ModuleList(MambaMixer(config, i) for i in range(ours.num_layers))
        state = {
            key.replace('patch_embed.projection', 'patch'): value
            for key, value in ours.state_dict().items()
        }
        # strict: names and shapes of our mixer are those of the usual Mamba mixer.
        self.load_state_dict(state, strict=True)

    def forward(self, img: Tensor) -> tuple[Tensor]:
        """Encode images (B, 3, H, W) into one map (B, embed_dims, H/patch, W/patch)."""
        patches = self.patch(img)
        x = patches.flatten(2).transpose(1, 2) + self.pos_embed
        for layer in self.layers:
            normed = self.pre_norm(x)
            x = x + (layer(normed) + layer(normed.flip(1)).flip(1)) / 2
        return (self.ln1(x).transpose(1, 2).reshape(patches.shape),)
