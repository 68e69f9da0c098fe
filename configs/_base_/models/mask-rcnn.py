# Mask R-CNN as MMDetection has it, with an ImageNet ResNet-50 and FPN unless a config has another
# encoder.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pyramid_strides = (4, 8, 16, 32, 64)  # what the head wants of an encoder's neck
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes='${num_classes}'),
        mask_head=dict(num_classes='${num_classes}'),
    ),
)
