# Real NWPU VHR-10 on two CPU cores from random weights.
_base_ = [
    '../_base_/models/mask-rcnn_small.py',
    '../_base_/encoders/rsmamba-tiny.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/nwpu.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 8
val_interval = 2
model = dict(backbone=_base_.encoder, neck=_base_.neck)
