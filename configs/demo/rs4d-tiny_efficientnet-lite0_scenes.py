# Stage 1 of the demo: a small RSMamba follows an ImageNet EfficientNet-Lite0 on generated scenes.
_base_ = [
    '../_base_/models/distill_efficientnet-lite0.py',
    '../_base_/datasets/scenes_distill.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]
