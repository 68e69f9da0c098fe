# A small RSMamba follows an ImageNet EfficientNet-Lite0 on real images, on two CPU cores.
_base_ = [
    '../_base_/models/distill_rsmamba-tiny_efficientnet-lite0.py',
    '../_base_/datasets/mixed_distill_small.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]

model = dict(
    student=dict(img_size=256),
    teacher=dict(out_indices=3),  # stride 16, 112 channels: what is there, not only edges
)
max_epochs = 8
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min_ratio=0.01,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
test_dataloader = {{_base_.val_dataloader}}
