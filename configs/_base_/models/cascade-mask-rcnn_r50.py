# Cascade Mask R-CNN with an ImageNet ResNet-50 and FPN, as MMDetection has it. Anchors may cross the
# border, as in its Mask R-CNN: large-scale jitter makes images into which none of them fits.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

model = dict(train_cfg=dict(rpn=dict(allowed_border=-1)))
