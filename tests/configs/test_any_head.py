"""RSMamba and the neck under every head: two steps and a prediction, and nothing left untrained."""

import pytest
from mmengine.runner import set_random_seed
from reduced_configs import CONFIGS, reduced_config
from training_steps import assert_trains_and_predicts, build, noise, predict, train

HEADS = (
    'bbox',
    'light',
    'prompt',
    'query',
    'cascade',
    'mask2former',
    'solov2',
    'condinst',
    'rtmdet-ins',
)

# Parameters of one level alone; theirs are zero where no object was assigned to the level.
PER_LEVEL = {
    'light': r'bbox_head\.(reg_convs|rtm_reg)\.[1-9]\.',
    'condinst': r'bbox_head\.scales\.[1-9]',
    'rtmdet-ins': r'bbox_head\.((kernel|reg)_convs|rtm_kernel|rtm_reg)\.[1-9]\.',
}


@pytest.mark.usefixtures('ssdd')
@pytest.mark.parametrize('head', HEADS)
def test_head_trains_and_predicts(head: str) -> None:
    set_random_seed(0)
    cfg = reduced_config(CONFIGS / f'rs4d/rs4d-base_{head}_ssdd.py')
    assert_trains_and_predicts(cfg, PER_LEVEL.get(head, '$^'))


@pytest.mark.parametrize('head', HEADS)
def test_any_number_of_objects(head: str) -> None:
    """Large-scale jitter empties a crop in twenty, and so now and then a process's whole batch."""
    set_random_seed(0)
    model, optim_wrapper = build(reduced_config(CONFIGS / f'rs4d/rs4d-base_{head}_ssdd.py'))
    for counts in ([0], [0, 0], [1], [0, 3], [400]):
        train(model.train(), optim_wrapper, noise(counts))
        assert len(predict(model, noise(counts))) == len(counts), counts
