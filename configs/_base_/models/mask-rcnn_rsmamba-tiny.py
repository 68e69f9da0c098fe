# A small RSMamba under a narrow Mask R-CNN, for two CPU cores. Patches of 8 pixels: the objects are
# small, and a scan over four times the tokens costs no more than four times the time.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

norm_cfg = dict(type='LN2d')
width = 128
anchor_scale = 4  # ships and roofs begin at a few pixels
model = dict(
    backbone=dict(
        _delete_=True,
        type='RSMamba',
        arch=dict(embed_dims=192, num_layers=6, inner_dims=384),
        img_size=256,
        patch_size=8,
        out_indices=(1, 3, 5),
    ),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=192,
            num_inputs=3,
            hidden_channels=64,
            out_channels=width,
            norm_cfg=norm_cfg,
        ),
        dict(
            type='SimpleFPN',
            in_channels=width,
            out_channels=width,
            in_stride=8,
            norm_cfg=norm_cfg,
        ),
    ],
    rpn_head=dict(
        in_channels=width,
        feat_channels=width,
        anchor_generator=dict(scales=[anchor_scale]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(in_channels=width, fc_out_channels=512),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(num_convs=2, in_channels=width, conv_out_channels=width),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250)),
)
