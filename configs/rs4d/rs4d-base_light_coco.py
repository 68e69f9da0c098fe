# A COCO set of your own, with the encoder that stage 1 distilled.
_base_ = [
    '../_base_/models/light.py',
    '../_base_/encoders/rsmamba-base_light.py',
    '../_base_/datasets/coco_1024.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

skip_empty = False
max_epochs = 100
model = dict(backbone=_base_.encoder, neck=_base_.neck)
