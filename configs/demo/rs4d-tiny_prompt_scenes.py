# Stage 2 of the demo with the prompt head in the bbox head's place: same encoder, data and schedule.
_base_ = [
    '../_base_/models/prompt_rsmamba-tiny.py',
    '../_base_/datasets/scenes_instance.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

num_classes = 2
model = dict(
    backbone=dict(
        img_size=128,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/demo/distill/latest.pth',
            prefix='student.',
        ),
    ),
    roi_head=dict(bbox_head=dict(num_classes=num_classes)),
)

max_epochs = 3
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
