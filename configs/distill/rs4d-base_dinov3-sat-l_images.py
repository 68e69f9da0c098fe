# DINOv3 for satellite images teaches on images of your own, without labels: data_root is a folder or a
# list of folders. It was trained on RGB of 0.6 m a pixel.
_base_ = [
    '../_base_/models/distill_dinov3-sat-l.py',
    '../_base_/datasets/images_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

image_size = 512
train_batch_size = lr_batch_size = 4
num_workers = 4
