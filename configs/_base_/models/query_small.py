# A small query head for two CPU cores: fewer layers, finer levels in its encoder, and SAM's decoder from
# random weights.
_base_ = './query.py'

pyramid_strides = (4, 8, 16, 32)
width = 128
model = dict(
    bbox_head=dict(
        max_masks_per_image=8,
        decoder=dict(checkpoint=None),
        in_channels=['${width}'] * 4,
        pixel_decoder=dict(encoder=dict(num_layers=2)),
        transformer_decoder=dict(num_layers=3),
    ),
    train_cfg=dict(num_points=2048),
)
