# The encoder of the light detector follows an ImageNet EfficientNet-Lite0, whose embeddings of whole
# images come from disk, where this puts them:
# rs4d cache-teacher configs/distill/rs4d-tiny-stem_efficientnet-lite0_mixed_cached.py
_base_ = [
    '../_base_/models/distill_efficientnet-lite0.py',
    '../_base_/datasets/mixed_distill_cached.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 16
val_interval = 4
model = dict(
    student=dict(stem_channels=(32, 64, 128), patch_size=16),
    teacher=dict(out_indices=3),  # stride 16, as the student's map
    teacher_cache='${cache_dir}',
)
