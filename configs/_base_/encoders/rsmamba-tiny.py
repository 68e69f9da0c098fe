# A small RSMamba and its neck, for two CPU cores, from random weights; for models that state a width, as
# mask-rcnn_small.py and prompt_small.py do. Patches of 8 pixels: the objects
# are small, and a scan over four times the tokens costs no more than four times the time.
embed_dims = 192
encoder = dict(
    _delete_=True,
    type='RSMamba',
    arch=dict(embed_dims='${embed_dims}', num_layers=6, inner_dims=384),
    img_size=('${image_size.1}', '${image_size.0}'),
    patch_size=8,
    out_indices=(1, 3, 5),
)
neck = [
    dict(
        type='RSFeatureAggregator',
        in_channels='${embed_dims}',
        num_inputs=3,
        hidden_channels=64,
        out_channels='${width}',
        norm_cfg=dict(type='LN2d'),
    ),
    dict(
        type='SimpleFPN',
        in_channels='${width}',
        out_channels='${width}',
        in_stride='${model.backbone.patch_size}',
        out_strides='${pyramid_strides}',
        norm_cfg=dict(type='LN2d'),
    ),
]
