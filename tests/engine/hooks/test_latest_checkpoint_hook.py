"""The link follows the newest checkpoint and is never a broken or a half-made one."""

from pathlib import Path
from types import SimpleNamespace

from mmdet.registry import HOOKS
from mmengine.logging import MessageHub


def test_the_link_follows_the_newest_checkpoint(tmp_path: Path) -> None:
    hook = HOOKS.build(dict(type='LatestCheckpointHook'))
    hub = MessageHub(f'latest-{tmp_path}')
    runner = SimpleNamespace(message_hub=hub)
    hook.after_train_epoch(runner)
    link = tmp_path / 'latest.pth'
    assert not link.is_symlink()
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).write_text(name)
        hub.update_info('last_ckpt', str(tmp_path / name))
        hook.after_train_epoch(runner)
        hook.after_train_iter(runner, 0)
        assert link.read_text() == name
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'epoch_1.pth',
        'epoch_2.pth',
        'latest.pth',
    ]
