# Real SSDD on two CPU cores in under an hour, from random weights.
_base_ = [
    '../_base_/models/prompt_rsmamba-tiny.py',
    '../_base_/datasets/ssdd_instance_small.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

model = dict(roi_head=dict(max_masks_per_image=4, bbox_head=dict(num_classes=1)))
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
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
