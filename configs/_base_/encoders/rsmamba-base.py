# RSMamba-base, distilled in stage 1, and its neck: every second block's map in one, and of that a
# pyramid of the strides that the head's file names. A config takes them with
# model = dict(backbone=_base_.encoder, neck=_base_.neck)
embed_dims = 256
num_maps = 12
encoder = dict(
    _delete_=True,  # whatever backbone the head came with
    type='RSMamba',
    arch='base',
    img_size=('${image_size.1}', '${image_size.0}'),  # height and width
    patch_size=16,
    out_indices=tuple(range(1, 24, 2)),
    init_cfg=dict(
        type='Pretrained',
        checkpoint='work_dirs/rs4d-base_sam-vit-b_sa1b/latest.pth',
        prefix='student.',
    ),
)
neck = [
    dict(
        type='RSFeatureAggregator',
        in_channels='${embed_dims}',
        num_inputs='${num_maps}',
        hidden_channels=32,
        out_channels=256,
        norm_cfg=dict(type='LN2d'),
    ),
    dict(
        type='SimpleFPN',
        in_channels=256,
        out_channels=256,
        in_stride='${model.backbone.patch_size}',
        out_strides='${pyramid_strides}',
        norm_cfg=dict(type='LN2d'),
    ),
]
