# A short schedule of stage 1 for two CPU cores, evaluated at the end.
_base_ = './adamw_cosine.py'

max_epochs = 2
val_interval = '${max_epochs}'
lr = 1e-3
min_lr_ratio = 0.01
optim_wrapper = dict(optimizer=dict(fused=True), clip_grad=dict(max_norm=1.0))
val_evaluator = test_evaluator = dict(type='FeatureAgreement')
# Input, corrupted input, both embeddings and the error, in vis_data/vis_image and TensorBoard.
custom_hooks = [dict(type='EmbeddingVisualizationHook', interval=1000)]
