# A light detector: a narrow pyramid, boxes in one stage (RTMDet's head and assigner), masks in the
# boxes. Its multiply-adds are fewer than those of the encoders. With an ImageNet ResNet-50 unless a
# config has another encoder.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pyramid_strides = (4, 8, 16, 32)
width = 64
model = dict(
    _delete_=True,
    type='OneStageMaskRCNN',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    neck=dict(
        type='LightFPN',
        in_channels=(256, 512, 1024, 2048),
        in_strides=(4, 8, 16, 32),
        out_channels='${width}',
        out_strides='${pyramid_strides}',
    ),
    bbox_head=dict(
        type='RTMDetSepBNHead',
        num_classes='${num_classes}',
        in_channels='${width}',
        feat_channels='${width}',
        stacked_convs=2,
        act_cfg=dict(type='ReLU', inplace=True),
        exp_on_reg=True,  # boxes of all sizes are as easy to begin with
        share_conv=False,  # separable convolutions have few weights
        use_depthwise=True,
        with_objectness=False,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides='${pyramid_strides}'),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    roi_head=dict(
        type='BoxMaskRoIHead',
        mask_roi_extractor=dict(
            type='ChannelsLastRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels='${width}',
            featmap_strides=(4, 8, 16),
        ),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=2,
            in_channels='${width}',
            conv_out_channels='${width}',
            num_classes='${num_classes}',
            class_agnostic=True,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
        train_cfg=dict(mask_size=28),
        test_cfg=dict(mask_thr_binary=0.5),
    ),
    train_cfg=dict(
        assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.01,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
    ),
)
