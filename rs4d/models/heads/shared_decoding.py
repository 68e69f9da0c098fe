"""SAM's mask decoder for many prompts of one image, without a copy of the image for each.

The same function as ``transformers``' ``SamMaskDecoder`` for the first mask, with its parameters,
arranged by what it costs. A map has thousands of cells, a prompt a dozen tokens. So:

- A head's (q Wq)(x Wk)^T is (q Wq Wk^T) x^T: weights are multiplied into the few tokens, and a
  prompt's map is never projected to keys, values or queries.
- Positions, and in the first layer the map too, are the same for all prompts and projected once.
- Of the last layers only what reaches the first mask is computed.

"Cells" are those of the map, "points" the prompts as they came in, which SAM adds to tokens as their
positions. A head's weights of an attention sum to 1, so that biases of values can be added at the end.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Cells of all prompts that are worked on together: on a CPU they stay in its cache.
_CELLS_AT_ONCE = 4096
_CELLS_AT_ONCE_ON_GPU = 65536
_CELLS_UPSCALED_AT_ONCE = 256
_MASK_TOKEN = 1  # behind the token for the masks' quality
_EMPTY = -100.0  # logits that nobody asked for: no object


class _Asked(NamedTuple):
    """What tokens compare with cells: ``own`` with projected ones, ``mixed`` with those of a map."""

    own: Tensor  # (n, heads, T, channels)
    mixed: Tensor  # (n, heads T, 256)


class SharedDecoding:
    """The masks of one image, with what they share computed once.

    Args:
        decoder: ``transformers``' ``SamMaskDecoder``, whose parameters are used.
        embedding: The image's map plus what every prompt adds to it, such as SAM's vector for "no
            mask" (256, h, w). Maps are computed in its type, tokens in that of the parameters.
        positions: The code of each cell (256, h, w).
        marks: Vectors (R, 256) of which a prompt adds its own share to each cell, or None. A few of
            them stand for a whole map: that of a mask is made of 16.
    """

    def __init__(
        self, decoder: Any, embedding: Tensor, positions: Tensor, marks: Tensor | None = None
    ) -> None:
        self.decoder, self.marks = decoder, marks
        self.shape, self.dtype = embedding.shape[-2:], embedding.dtype
        self.first, self.second = decoder.transformer.layers
        self.final = decoder.transformer.final_attn_token_to_image
        self.heads: int = self.final.num_attention_heads
        self.map = embedding.flatten(1).T.contiguous()
        positions = positions.flatten(1).T.to(self.dtype)
        placed = self.map + positions
        self.first_keys = self._project(placed, self.first.cross_attn_token_to_image.k_proj)
        weight = self.first.cross_attn_token_to_image.v_proj.weight.to(self.dtype)
        self.first_values = (weight @ self.map.T).unflatten(0, (self.heads, -1))
        self.first_queries = self._project(placed, self.first.cross_attn_image_to_token.q_proj)
        self.second_keys = self._project(positions, self.second.cross_attn_token_to_image.k_proj)
        self.second_queries = self._project(positions, self.second.cross_attn_image_to_token.q_proj)
        self.final_keys = self._project(positions, self.final.k_proj)

    def __call__(
        self, tokens: Tensor, shares: Tensor | None = None, windows: Tensor | None = None
    ) -> Tensor:
        """Decode the first mask of each prompt.

        Args:
            tokens: Prompts (N, T, 256), N at least 1.
            shares: How much of each mark a prompt adds to each cell (N, R, h, w); needs ``marks``.
            windows: Left, top, right and bottom of what each prompt wants of its mask, in cells (N, 4);
                None for all.

        Returns:
            Logits (N, 4h, 4w), -100 outside of windows.
        """
        own = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        points = torch.cat([own.expand(len(tokens), -1, -1), tokens.to(own)], 1)
        at_once = _CELLS_AT_ONCE if points.device.type == 'cpu' else _CELLS_AT_ONCE_ON_GPU
        step = max(1, at_once // len(self.map))
        masks = []
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            own_shares = None if shares is None else shares[part].flatten(2).to(self.dtype)
            cells, vectors = self._decode(points[part], own_shares)
            if windows is None:
                masks.append(self._upscale(cells, vectors))
            else:
                masks.append(self._upscale_windows(cells, vectors, windows[part].tolist()))
        return torch.cat(masks)

    def _decode(self, points: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return maps (n, h, w, 256) and what their upscaled cells are multiplied with (n, 32)."""
        first, second = self.first, self.second
        tokens = first.layer_norm1(first.self_attn(*[points[None]] * 3)[0][0])
        tokens = _update(first, tokens, self._look_at_image(tokens + points, shares))
        cells = self._answer_image(tokens, points, shares)

        placed = (tokens + points)[None]
        tokens = tokens + second.self_attn(placed, placed, tokens[None])[0][0]
        tokens = second.layer_norm1(tokens)
        attention = second.cross_attn_token_to_image
        seen = self._look(attention, tokens + points, cells, self.second_keys)
        tokens = _update(second, tokens, seen)
        cells = self._answer(tokens, points, cells)

        token, point = tokens[:, _MASK_TOKEN, None], points[:, _MASK_TOKEN, None]
        token = token + self._look(self.final, token + point, cells, self.final_keys)
        token = self.decoder.transformer.layer_norm_final_attn(token)
        vectors = self.decoder.output_hypernetworks_mlps[0](token)[:, 0]
        return cells.unflatten(1, self.shape), vectors.to(self.dtype)

    # Tokens look at cells.

    def _look(self, attention: Any, placed: Tensor, cells: Tensor, shared: Tensor) -> Tensor:
        asked = self._ask(attention, attention.q_proj(placed), attention.k_proj)
        weights = self._scores(asked, cells, shared).softmax(-1)
        seen = (weights @ cells).unflatten(1, (self.heads, -1)).to(placed.dtype)
        weight = attention.v_proj.weight.unflatten(0, (self.heads, -1))
        return self._leave(attention, seen @ weight.mT)

    def _look_at_image(self, placed: Tensor, shares: Tensor | None) -> Tensor:
        attention = self.first.cross_attn_token_to_image
        asked = self._ask(attention, attention.q_proj(placed), attention.k_proj)
        weights = self._image_scores(asked, self.first_keys, shares).softmax(-1)
        seen = (weights.unflatten(1, (self.heads, -1)) @ self.first_values.mT).to(placed.dtype)
        if shares is not None:
            assert self.marks is not None
            of_marks = (weights @ shares.mT).unflatten(1, (self.heads, -1)).to(placed.dtype)
            values = F.linear(self.marks, attention.v_proj.weight)
            seen = seen + of_marks @ self._split(values[None])
        return self._leave(attention, seen)

    def _leave(self, attention: Any, seen: Tensor) -> Tensor:
        """Bring what was seen (n, heads, T, channels), without its bias, to tokens."""
        seen = seen.transpose(1, 2).flatten(2) + attention.v_proj.bias
        return attention.out_proj(seen)

    # Cells look at tokens.

    def _answer(self, tokens: Tensor, points: Tensor, cells: Tensor) -> Tensor:
        attention = self.second.cross_attn_image_to_token
        asked = self._ask(attention, attention.k_proj(tokens + points), attention.q_proj)
        weights = self._over_tokens(self._scores(asked, cells, self.second_queries))
        cells = _add_product(cells, weights.mT, self._values(attention, tokens))
        return self._normalise(self.second, cells)

    def _answer_image(self, tokens: Tensor, points: Tensor, shares: Tensor | None) -> Tensor:
        attention = self.first.cross_attn_image_to_token
        asked = self._ask(attention, attention.k_proj(tokens + points), attention.q_proj)
        weights = self._over_tokens(self._image_scores(asked, self.first_queries, shares))
        values = self._values(attention, tokens)
        if shares is not None:
            assert self.marks is not None
            weights = torch.cat([weights, shares], 1)
            marks = self.marks.to(values).expand(len(values), -1, -1)
            values = torch.cat([values, marks], 1)
        return self._normalise(self.first, torch.baddbmm(self.map, weights.mT, values))

    def _over_tokens(self, scores: Tensor) -> Tensor:
        return scores.unflatten(1, (self.heads, -1)).softmax(2).flatten(1, 2)

    def _values(self, attention: Any, tokens: Tensor) -> Tensor:
        """What each head adds to a cell for each token (n, heads T, 256)."""
        values = self._split(attention.v_proj(tokens))
        values = self._through(values, attention.out_proj.weight.T)
        return values + (attention.out_proj.bias / self.heads).to(values)

    def _normalise(self, layer: Any, cells: Tensor) -> Tensor:
        norm = layer.layer_norm4
        return F.layer_norm(cells, norm.normalized_shape, *_cast(norm, self.dtype), norm.eps)

    # Tokens and cells compared.

    def _ask(self, attention: Any, tokens: Tensor, other: Any) -> _Asked:
        """Prepare projected tokens for cells that have not been through ``other``."""
        own = self._split(tokens) * attention.scaling
        return _Asked(own.to(self.dtype), self._through(own, other.weight))

    def _scores(self, asked: _Asked, cells: Tensor, shared: Tensor) -> Tensor:
        """Compare with a prompt's cells; ``shared`` is their positions, projected."""
        return _add_product((asked.own @ shared).flatten(1, 2), asked.mixed, cells.mT)

    def _image_scores(self, asked: _Asked, shared: Tensor, shares: Tensor | None) -> Tensor:
        """Compare with the image, projected, and the marks on it."""
        scores = (asked.own @ shared).flatten(1, 2)
        if shares is None:
            return scores
        assert self.marks is not None
        return _add_product(scores, asked.mixed @ self.marks.to(self.dtype).T, shares)

    def _project(self, cells: Tensor, linear: Any) -> Tensor:
        """Project cells (P, 256) to (heads, channels, P)."""
        weight, bias = _cast(linear, self.dtype)
        return (weight @ cells.T + bias[:, None]).unflatten(0, (self.heads, -1))

    def _split(self, tokens: Tensor) -> Tensor:
        """Split (n, T, channels of all heads) to (n, heads, T, channels)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _through(self, tokens: Tensor, weight: Tensor) -> Tensor:
        """Multiply tokens of heads with their heads' rows of a weight: (n, heads T, 256)."""
        weight = weight.unflatten(0, (self.heads, -1))
        return (tokens @ weight).flatten(1, 2).to(self.dtype)

    def _upscale_windows(self, cells: Tensor, vectors: Tensor, windows: list[list[int]]) -> Tensor:
        height, width = self.shape
        masks = cells.new_full((len(cells), 4 * height, 4 * width), _EMPTY)
        for i, (left, top, right, bottom) in enumerate(windows):
            part = self._upscale(cells[i : i + 1, top:bottom, left:right], vectors[i : i + 1])
            masks[i, 4 * top : 4 * bottom, 4 * left : 4 * right] = part[0]
        return masks

    def _upscale(self, cells: Tensor, vectors: Tensor) -> Tensor:
        """Run both transposed convolutions, whose windows do not overlap, as matrix products."""
        decoder, norm = self.decoder, self.decoder.upscale_layer_norm
        convs = []
        for conv in (decoder.upscale_conv1, decoder.upscale_conv2):
            weight, bias = _cast(conv, self.dtype)
            convs.append((bias.repeat(4), weight.permute(0, 2, 3, 1).flatten(1)))
        (first_bias, first), (second_bias, second) = convs
        affine = _cast(norm, self.dtype)
        height, width = cells.shape[1:3]
        logits = []
        for part in cells.flatten(1, 2).split(max(1, _CELLS_UPSCALED_AT_ONCE // len(cells)), 1):
            fine = torch.addmm(first_bias, part.flatten(0, 1), first).unflatten(1, (4, -1))
            fine = _gelu(F.layer_norm(fine, norm.normalized_shape, *affine, norm.eps))
            fine = _gelu(torch.addmm(second_bias, fine.flatten(0, 1), second))
            logits.append(fine.view(len(part), -1, vectors.shape[1]) @ vectors[..., None])
        grid = torch.cat(logits, 1).view(-1, height, width, 2, 2, 2, 2)
        return grid.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * height, 4 * width)


def _update(layer: Any, tokens: Tensor, seen: Tensor) -> Tensor:
    tokens = layer.layer_norm2(tokens + seen)
    return layer.layer_norm3(tokens + layer.mlp(tokens))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return total + a @ b; without gradients in the memory of ``total``."""
    if torch.is_grad_enabled():
        return torch.baddbmm(total, a, b)
    return torch.baddbmm(total, a, b, out=total)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


def _cast(module: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return module.weight.to(dtype), module.bias.to(dtype)
