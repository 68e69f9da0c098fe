# AdamW, 50 iterations of linear warm-up, then cosine down to nothing; evaluated every 10 epochs.
max_epochs = 800
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=50),
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
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
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
# With --auto-scale-lr the learning rate follows the total batch size.
auto_scale_lr = dict(enable=False, base_batch_size=4)
# work_dirs/<config>/latest.pth is the newest checkpoint.
custom_hooks = [dict(type='LatestCheckpointHook')]
