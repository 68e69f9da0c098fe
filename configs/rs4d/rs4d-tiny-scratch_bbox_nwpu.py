# Real NWPU VHR-10 on two CPU cores from random weights.
_base_ = [
    '../_base_/models/mask-rcnn_rsmamba-tiny.py',
    '../_base_/datasets/nwpu_instance_small.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

num_classes = 10
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=num_classes),
        mask_head=dict(num_classes=num_classes),
    ),
)
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
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
