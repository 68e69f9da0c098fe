"""Losses and agreement against PyTorch's and NumPy's own on the valid part."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor

from rs4d.distillation.losses import mean_cosine, normalised_l1
from rs4d.errors import UserError


def maps() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 5, 6, 4).unbind()
    valid = torch.ones(3, 1, 6, 4)
    valid[1, :, 4:] = 0
    valid[2, :, :, 1:] = 0
    return student, teacher, valid


@pytest.mark.parametrize('kind', ['l1', 'smooth_l1', 'mse', 'cosine'])
def test_loss_is_pytorchs_over_the_valid_cells(kind: str) -> None:
    student, teacher, valid = maps()
    inside = valid[:, 0].bool()
    s, t = (m.permute(0, 2, 3, 1)[inside] for m in (student, teacher))
    expected = {
        'l1': lambda: F.l1_loss(s, t),
        'smooth_l1': lambda: F.smooth_l1_loss(s, t, beta=0.5),
        'mse': lambda: F.mse_loss(s, t),
        'cosine': lambda: F.cosine_embedding_loss(s, t, torch.ones(len(s))),
    }[kind]()
    loss = MODELS.build(dict(type='FeatureLoss', kind=kind, beta=0.5, loss_weight=2.0))
    torch.testing.assert_close(loss(student, teacher, valid), 2 * expected)


def test_padding_has_no_say() -> None:
    student, teacher, valid = maps()
    loss = MODELS.build(dict(type='FeatureLoss'))
    assert loss(student, teacher, valid) == loss(student + 9 * (1 - valid), teacher, valid)


def test_unknown_kind() -> None:
    with pytest.raises(UserError, match='l1, smooth_l1, mse, cosine'):
        MODELS.build(dict(type='FeatureLoss', kind='l3'))


def test_agreement_is_numpys() -> None:
    student, teacher, valid = maps()
    errors, cosines = normalised_l1(student, teacher, valid), mean_cosine(student, teacher, valid)
    for i in range(3):
        inside = valid[i, 0].bool().numpy()
        s, t = (m[i].numpy()[:, inside] for m in (student, teacher))
        norms = np.linalg.norm(s, axis=0) * np.linalg.norm(t, axis=0)
        assert errors[i].item() == pytest.approx(np.abs(s - t).sum() / np.abs(t).sum(), rel=1e-5)
        assert cosines[i].item() == pytest.approx(((s * t).sum(0) / norms).mean(), rel=1e-5)
