# A narrow Mask R-CNN for two CPU cores.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pyramid_strides = (4, 8, 16, 32, 64)
width = 128
anchor_scale = 4  # ships and roofs begin at a few pixels
model = dict(
    rpn_head=dict(
        type='WinogradRPNHead',
        in_channels='${width}',
        feat_channels='${width}',
        anchor_generator=dict(scales=['${anchor_scale}']),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(type='ChannelsLastRoIExtractor', out_channels='${width}'),
        bbox_head=dict(in_channels='${width}', fc_out_channels=512, num_classes='${num_classes}'),
        mask_roi_extractor=dict(type='ChannelsLastRoIExtractor', out_channels='${width}'),
        mask_head=dict(
            num_convs=2,
            conv_cfg=dict(type='WinogradConv2d'),
            in_channels='${width}',
            conv_out_channels='${width}',
            num_classes='${num_classes}',
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250, nms=dict(split_thr=1))),
)
