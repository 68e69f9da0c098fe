# SAM-seg: SAM's ViT-B encoder, RSMamba's teacher, on RSMamba's neck and head. The encoder is frozen,
# as in RSPrompter's published code: neck and head alone are trained.
_base_ = './mask-rcnn_rsmamba-base.py'

norm_cfg = dict(type='LN2d')
model = dict(
    backbone=dict(
        _delete_=True,
        type='SAMViT',
        arch='base',
        img_size=1024,
        out_indices=tuple(range(1, 12, 2)),
        checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_b_01ec64.pth',
        frozen=True,
    ),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=768,
            num_inputs=6,
            hidden_channels=32,
            out_channels=256,
            norm_cfg=norm_cfg,
        ),
        dict(type='SimpleFPN', in_channels=256, out_channels=256, norm_cfg=norm_cfg),
    ],
)
