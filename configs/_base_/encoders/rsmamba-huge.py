_base_ = './rsmamba-base.py'

num_maps = 16
encoder = dict(
    arch='huge',
    out_indices=tuple(range(1, 32, 2)),
    init_cfg=dict(checkpoint='work_dirs/rs4d-huge_sam-vit-h_sa1b/latest.pth'),
)
