# A plain ViT of timm's, with the weights that timm downloads, and RSMamba's neck. Any other of its ViTs
# is another model_name, and embed_dims and out_indices to suit.
embed_dims = 192
encoder = dict(
    _delete_=True,
    type='TimmEncoder',
    model_name='vit_tiny_patch16_224',
    out_indices=(2, 5, 8, 11),
    checkpoint='timm://',
    model_kwargs=dict(dynamic_img_size=True),  # positions are interpolated to the input
)
neck = [
    dict(
        type='RSFeatureAggregator',
        in_channels='${embed_dims}',
        num_inputs=4,
        hidden_channels=32,
        out_channels=256,
        norm_cfg=dict(type='LN2d'),
    ),
    dict(
        type='SimpleFPN',
        in_channels=256,
        out_channels=256,
        out_strides='${pyramid_strides}',
        norm_cfg=dict(type='LN2d'),
    ),
]
