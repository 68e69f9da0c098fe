# Mask R-CNN with an ImageNet ResNet-50 and FPN, as MMDetection has it.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
