# Real SSDD on two CPU cores in under an hour, from random weights.
_base_ = [
    '../_base_/models/prompt_small.py',
    '../_base_/encoders/rsmamba-tiny.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/ssdd.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 8
model = dict(
    backbone=_base_.encoder,
    neck=_base_.neck,
    roi_head=dict(max_masks_per_image=4),
)
