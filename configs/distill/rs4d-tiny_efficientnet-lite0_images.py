# A small RSMamba follows an ImageNet EfficientNet-Lite0 on images of your own, without labels. Put
# them into data/images, in folders as you like, or set data_root to a folder or a list of folders:
# python tools/train.py CONFIG --cfg-options data_root=DIR
# A tenth of the images, 256 at most, is held out to measure the agreement with the teacher.
_base_ = [
    '../_base_/models/distill_efficientnet-lite0.py',
    '../_base_/datasets/images_distill.py',
    '../_base_/schedules/distill_cpu.py',
    '../_base_/default_runtime.py',
]

data_root = '{{$RS4D_DATA_ROOT:data}}/images/'
max_epochs = 8
val_interval = 2
model = dict(teacher=dict(out_indices=3))  # stride 16, 112 channels: what is there, not only edges
