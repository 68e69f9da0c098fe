# AdamW, linear warm-up by iterations, then cosine by epochs. The schedules beside this one set how long
# and how high; so may a config, or --cfg-options max_epochs=12 lr=2e-4.
max_epochs = 800
val_interval = 10
lr = 1e-4
warmup_iters = 50
min_lr_ratio = 0.001  # where the warm-up begins and the cosine ends

train_cfg = dict(
    type='ResumableTrainLoop', max_epochs='${max_epochs}', val_interval='${val_interval}'
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor='${min_lr_ratio}',
        by_epoch=False,
        begin=0,
        end='${warmup_iters}',
    ),
    dict(
        type='CosineAnnealingLR',
        T_max='${max_epochs}',
        eta_min_ratio='${min_lr_ratio}',
        begin=0,
        end='${max_epochs}',
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='SkippingOptimWrapper',  # leaves out steps whose loss is no number
    optimizer=dict(type='AdamW', lr='${lr}', weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # Mamba's dynamics and learned positions are not pulled to zero.
        custom_keys={
            'A_log': dict(decay_mult=0.0),
            '.D': dict(decay_mult=0.0),
            'pos_embed': dict(decay_mult=0.0),
        },
        bypass_duplicate=True,  # RTMDet's levels share convolutions
    ),
)
# With --auto-scale-lr the learning rate follows the total batch size.
auto_scale_lr = dict(enable=False, base_batch_size='${lr_batch_size}')
