# A short schedule for two CPU cores: a high rate, evaluated at the end.
_base_ = './adamw_cosine.py'

max_epochs = 11
val_interval = '${max_epochs}'
lr = 4e-4
warmup_iters = 100
min_lr_ratio = 0.01
optim_wrapper = dict(optimizer=dict(fused=True), clip_grad=dict(max_norm=1.0))
