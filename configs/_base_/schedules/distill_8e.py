# Eight epochs of stage 1; agreement with the teacher on held-out images after every one.
_base_ = './adamw_cosine.py'

max_epochs = 8
val_interval = 1
lr = 2e-4
warmup_iters = 500
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
val_evaluator = test_evaluator = dict(type='FeatureAgreement')
# Input, corrupted input, both embeddings and the error, in vis_data/vis_image and TensorBoard.
custom_hooks = [dict(type='EmbeddingVisualizationHook', interval=1000)]
