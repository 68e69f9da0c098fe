# A small RSMamba whose tokens a convolutional stem makes, and the narrow neck of the light detector,
# for two CPU cores, from random weights.
embed_dims = 192
stem_channels = (32, 64, 128)
encoder = dict(
    _delete_=True,
    type='RSMamba',
    arch=dict(embed_dims='${embed_dims}', num_layers=6, inner_dims=384),
    img_size=('${image_size.1}', '${image_size.0}'),
    patch_size=16,
    stem_channels='${stem_channels}',
    out_indices=5,
)
neck = dict(
    _delete_=True,
    type='LightFPN',
    in_channels=('${stem_channels.1}', '${stem_channels.2}', '${embed_dims}'),
    in_strides=(4, 8, '${model.backbone.patch_size}'),
    out_channels='${width}',
    out_strides='${pyramid_strides}',
)
