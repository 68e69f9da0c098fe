_base_ = './rsmamba-base.py'

num_maps = 14
encoder = dict(
    arch='large',
    out_indices=tuple(range(1, 28, 2)),
    init_cfg=dict(checkpoint='work_dirs/rs4d-large_sam-vit-l_sa1b/latest.pth'),
)
