# Real SSDD on two CPU cores in under an hour, from random weights.
_base_ = [
    '../_base_/models/light.py',
    '../_base_/encoders/rsmamba-tiny_stem.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/ssdd.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

image_size = (320, 192)  # as many pixels as 256x256, in the shape of SSDD's images
scale_range = (0.7, 1.4)
train_batch_size = lr_batch_size = 8
max_epochs = 36
lr = 8e-4
model = dict(backbone=_base_.encoder, neck=_base_.neck)
