# In what is trained and predicted: float32, bfloat16 or float16 (mixed); --amp stands in its place.
dtype = 'float32'
custom_imports = dict(imports=['rs4d'], allow_failed_imports=False)
default_scope = 'mmdet'
runner_type = 'AtomicRunner'  # whole checkpoints, CPUs, and what its loop, in the schedule, resumes

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # At the ends of epochs, and a passing one within long epochs; latest.pth, which stage 2 reads,
    # links to the newest.
    checkpoint=dict(
        type='ResumableCheckpointHook', interval=1, iter_interval=1000, max_keep_ckpts=2
    ),
    non_finite_loss=dict(type='NonFiniteLossHook'),  # says which steps were left out
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='InstanceVisualizationHook'),
    # images_per_s and memory among the scalars.
    throughput=dict(type='ThroughputHook'),
    # A bar with the time to go, if the output is a terminal.
    progress=dict(type='ProgressHook'),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # Gloo where there is no GPU
)
# scalars.json, which tools/analysis_tools/plot_log.py draws, and pictures; both for TensorBoard, too.
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorBoardBackend')]
visualizer = dict(type='LegibleVisualizer', vis_backends=vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
# A seed for weights and sampling; published figures should come with it.
randomness = dict(seed=0)
