# Weights, gradients and optimizer state sharded over the GPUs, in bfloat16. The teacher stays whole:
# each process holds it once, and FSDP does not see it. Started like any training by
# tools/dist_train.sh or tools/slurm_train.sh.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='ShardedStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        auto_wrap_policy='is_encoder',
        sharding_strategy='FULL_SHARD',
        mixed_precision=dict(param_dtype='bfloat16', reduce_dtype='float32'),
        use_orig_params=True,
    ),
    # One file that reads like any other checkpoint.
    state_dict_cfg='full',
)
