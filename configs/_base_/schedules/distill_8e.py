# AdamW, linear warm-up, cosine to nothing; agreement with the teacher on held-out images every epoch.
max_epochs = 8
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(type='FeatureAgreement')
test_evaluator = val_evaluator
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        eta_min_ratio=0.001,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # Mamba's dynamics and learned positions are not pulled to zero.
        custom_keys={
            'A_log': dict(decay_mult=0.0),
            '.D': dict(decay_mult=0.0),
            'pos_embed': dict(decay_mult=0.0),
        },
    ),
)
custom_hooks = [
    # Stage 2 reads work_dirs/<config>/latest.pth.
    dict(type='LatestCheckpointHook'),
    # Input, corrupted input, both embeddings and the error, in vis_data/vis_image and TensorBoard.
    dict(type='EmbeddingVisualizationHook', interval=1000),
]
# With --auto-scale-lr the learning rate follows the total batch size.
auto_scale_lr = dict(enable=False, base_batch_size=4)
