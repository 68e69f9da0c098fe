# Four bands of 16 bits on two CPU cores, else as rs4d-tiny_light_coco.py; see docs/rasters.md.
_base_ = [
    '../_base_/models/light.py',
    '../_base_/encoders/rsmamba-tiny_stem.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/coco.py',
    '../_base_/datasets/rgbn_uint16.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

train_batch_size = lr_batch_size = 8
skip_empty = False
max_epochs = 36
lr = 8e-4
load_image = _base_.raster
pad_val = dict(img='${band_mean}')
model = dict(
    data_preprocessor=_base_.normalisation,
    backbone=dict(_base_.encoder, in_channels=4),
    neck=_base_.neck,
)
