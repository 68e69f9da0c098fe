# Stage 2 of the demo with the prompt head in the bbox head's place: same encoder, data and schedule.
_base_ = [
    '../_base_/models/prompt_small.py',
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
