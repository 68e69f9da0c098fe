# A plain ViT of timm's, with the weights that timm downloads, on RSMamba's neck under Mask R-CNN. Any
# other of its ViTs is another model_name, and in_channels and out_indices to suit.
_base_ = './mask-rcnn_rsmamba-base.py'

norm_cfg = dict(type='LN2d')
model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmEncoder',
        model_name='vit_tiny_patch16_224',
        out_indices=(2, 5, 8, 11),
        checkpoint='timm://',
        model_kwargs=dict(dynamic_img_size=True),  # positions are interpolated to the input
    ),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=192,
            num_inputs=4,
            hidden_channels=32,
            out_channels=256,
            norm_cfg=norm_cfg,
        ),
        dict(type='SimpleFPN', in_channels=256, out_channels=256, norm_cfg=norm_cfg),
    ],
)
