# Stage 2 of the demo: Mask R-CNN on the encoder that stage 1 distilled.
_base_ = [
    '../_base_/models/mask-rcnn_small.py',
    '../_base_/encoders/rsmamba-tiny.py',
    '../_base_/datasets/scenes_instance.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 3
warmup_iters = 50
init_cfg = dict(
    type='Pretrained', checkpoint='work_dirs/demo/distill/latest.pth', prefix='student.'
)
model = dict(backbone=dict(_base_.encoder, init_cfg=init_cfg), neck=_base_.neck)
