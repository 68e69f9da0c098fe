_base_ = './mask-rcnn_rsmamba-base.py'

norm_cfg = dict(type='LN2d')
model = dict(
    backbone=dict(
        arch='huge',
        out_indices=tuple(range(1, 32, 2)),
        init_cfg=dict(checkpoint='work_dirs/rs4d-huge_sam-vit-h_sa1b/latest.pth'),
    ),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=256,
            num_inputs=16,
            hidden_channels=32,
            out_channels=256,
            norm_cfg=norm_cfg,
        ),
        dict(type='SimpleFPN', in_channels=256, out_channels=256, norm_cfg=norm_cfg),
    ],
)
