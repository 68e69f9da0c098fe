# A small RSMamba follows an ImageNet EfficientNet-Lite0 on real images, on two CPU cores.
_base_ = [
    '../_base_/models/distill_efficientnet-lite0.py',
    '../_base_/datasets/mixed_distill.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 8
val_interval = 2
model = dict(teacher=dict(out_indices=3))  # stride 16, 112 channels: what is there, not only edges
