# Cascade Mask R-CNN as MMDetection has it, with an ImageNet ResNet-50 and FPN unless a config has
# another encoder. Each stage refines its boxes by smaller steps. Anchors may cross the border, as in
# Mask R-CNN: large-scale jitter makes images into which none of them fits.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

pyramid_strides = (4, 8, 16, 32, 64)
model = dict(
    rpn_head=dict(type='WinogradRPNHead'),
    roi_head=dict(
        bbox_roi_extractor=dict(type='ChannelsLastRoIExtractor'),
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                in_channels=256,
                fc_out_channels=1024,
                roi_feat_size=7,
                num_classes='${num_classes}',
                bbox_coder=dict(
                    type='DeltaXYWHBBoxCoder',
                    target_means=[0.0, 0.0, 0.0, 0.0],
                    target_stds=[of_centre, of_centre, of_size, of_size],
                ),
                reg_class_agnostic=True,
                loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
                loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
            )
            for of_centre, of_size in ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))
        ],
        mask_roi_extractor=dict(type='ChannelsLastRoIExtractor'),
        mask_head=dict(conv_cfg=dict(type='WinogradConv2d'), num_classes='${num_classes}'),
    ),
    train_cfg=dict(rpn=dict(allowed_border=-1)),
    test_cfg=dict(rpn=dict(nms=dict(split_thr=1))),
)
