"""Configs that name MMEngine's parts get ours, with their arguments."""

from mmengine.config import Config

from rs4d.engine import use_resumable_parts


def test_plain_parts_are_exchanged() -> None:
    cfg = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(type='AmpOptimWrapper', dtype='float16'),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2)),
            val_dataloader=dict(batch_size=1),
        )
    )
    for _ in range(2):
        use_resumable_parts(cfg)
        assert cfg.train_cfg == dict(type='ResumableTrainLoop', max_epochs=3)
        assert cfg.optim_wrapper == dict(type='SkippingAmpOptimWrapper', dtype='float16')
        assert cfg.default_hooks.checkpoint == dict(type='ResumableCheckpointHook', interval=2)
        assert cfg.custom_hooks == [dict(type='NonFiniteLossHook')]
        assert cfg.val_dataloader.worker_init_fn.type == 'start_worker'


def test_other_parts_stay() -> None:
    cfg = Config(
        dict(
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=3),
            optim_wrapper=dict(type='OptimWrapperDict'),
            default_hooks=dict(checkpoint=None),
        )
    )
    use_resumable_parts(cfg)
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    assert cfg.optim_wrapper.type == 'OptimWrapperDict'
    assert cfg.default_hooks.checkpoint is None
    assert not cfg.get('custom_hooks')
