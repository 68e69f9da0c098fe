# RSMamba-base, distilled in stage 1, under Mask R-CNN.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

norm_cfg = dict(type='LN2d')
model = dict(
    backbone=dict(
        _delete_=True,
        type='RSMamba',
        arch='base',
        img_size=1024,
        out_indices=tuple(range(1, 24, 2)),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/rs4d-base_sam-vit-b_sa1b/latest.pth',
            prefix='student.',
        ),
    ),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=256,
            num_inputs=12,
            hidden_channels=32,
            out_channels=256,
            norm_cfg=norm_cfg,
        ),
        dict(type='SimpleFPN', in_channels=256, out_channels=256, norm_cfg=norm_cfg),
    ],
)
