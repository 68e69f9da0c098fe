# Mask R-CNN as MMDetection has it, with an ImageNet ResNet-50 and FPN unless a config has another
# encoder.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pyramid_strides = (4, 8, 16, 32, 64)  # what the head wants of an encoder's neck
model = dict(
    rpn_head=dict(type='WinogradRPNHead'),
    roi_head=dict(
        bbox_roi_extractor=dict(type='ChannelsLastRoIExtractor'),
        bbox_head=dict(num_classes='${num_classes}'),
        mask_roi_extractor=dict(type='ChannelsLastRoIExtractor'),
        mask_head=dict(conv_cfg=dict(type='WinogradConv2d'), num_classes='${num_classes}'),
    ),
    # Proposals of one level suppress each other alone, which takes a fifth of the comparisons.
    test_cfg=dict(rpn=dict(nms=dict(split_thr=1))),
)
