# The encoder of the light detector follows DINOv3 for satellite images, on images of your own without
# labels: data_root is a folder or a list of folders.
_base_ = [
    '../_base_/models/distill_dinov3-sat-l.py',
    '../_base_/datasets/images_distill.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]

max_epochs = 8
val_interval = 2
model = dict(
    student=dict(
        arch=dict(_delete_=True, embed_dims=192, num_layers=6, inner_dims=384),
        stem_channels=(32, 64, 128),
    ),
)
