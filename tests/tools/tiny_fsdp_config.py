# The tiny distillation, sharded; in float32, to be compared.
_base_ = ['./tiny_distill_config.py', '../../configs/_base_/strategies/fsdp.py']

strategy = dict(model_wrapper=dict(mixed_precision=None))
