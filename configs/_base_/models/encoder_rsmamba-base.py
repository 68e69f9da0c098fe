# RSMamba-base, distilled in stage 1, and its neck, as parts for the models of other heads; the same
# as in mask-rcnn_rsmamba-base.py. A config refers to them by _base_.encoder and so on.
norm_cfg = dict(type='LN2d')
encoder = dict(
    _delete_=True,  # whatever backbone the model had
    type='RSMamba',
    arch='base',
    img_size=1024,
    out_indices=tuple(range(1, 24, 2)),
    init_cfg=dict(
        type='Pretrained',
        checkpoint='work_dirs/rs4d-base_sam-vit-b_sa1b/latest.pth',
        prefix='student.',
    ),
)
aggregator = dict(
    type='RSFeatureAggregator',
    in_channels=256,
    num_inputs=12,
    hidden_channels=32,
    out_channels=256,
    norm_cfg=norm_cfg,
)
# Strides 4 to 64.
pyramid = dict(type='SimpleFPN', in_channels=256, out_channels=256, norm_cfg=norm_cfg)
