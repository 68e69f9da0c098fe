# SAM's ViT-B, RSMamba's teacher, with RSMamba's neck on every second block. It is frozen, as in
# RSPrompter's published code: neck and head alone are trained. A config lists ../sam/vit-b.py as well.
encoder = dict(
    _delete_=True,
    type='SAMViT',
    arch='${sam_arch}',
    img_size=1024,  # for which SAM's positions were learnt
    out_indices=tuple(range(1, 12, 2)),
    checkpoint='${sam_checkpoint}',
    frozen=True,
)
neck = [
    dict(
        type='RSFeatureAggregator',
        in_channels=768,
        num_inputs=6,
        in_indices=tuple(range(6)),
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
