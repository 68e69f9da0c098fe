# The encoder of the light detector, a small RSMamba with a convolutional stem, follows an ImageNet
# EfficientNet-Lite0 on real images, on two CPU cores.
_base_ = [
    '../_base_/models/distill_efficientnet-lite0.py',
    '../_base_/datasets/mixed_distill.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 16
val_interval = 4
model = dict(
    student=dict(stem_channels=(32, 64, 128), patch_size=16),
    teacher=dict(out_indices=3),  # stride 16, as the student's map
)
