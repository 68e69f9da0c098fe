"""The benchmark's arithmetic, and one small run of it from end to end."""

import json
from pathlib import Path

import pytest
import torch

from rs4d.analysis.benchmark import interleave, ratio, spread
from rs4d.analysis.benchmark.encoders import build_encoder, make_step
from rs4d.analysis.benchmark.memory import peak_memory
from rs4d.cli import main


def test_candidates_take_turns() -> None:
    calls: list[str] = []
    seconds = interleave(
        {'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=3, warmup=1
    )
    assert ''.join(calls) == 'ab' + 'ababab'
    assert {name: len(x) for name, x in seconds.items()} == {'a': 3, 'b': 3}


def test_spread_is_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 3.0, 4.0)
    assert spread([7.0]) == (7.0, 7.0, 7.0)


def test_ratio_is_taken_round_by_round() -> None:
    """A round in which everything was slow does not move it."""
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == (2.0, 2.0, 2.0)


def test_unknown_encoder_is_named() -> None:
    with pytest.raises(ValueError, match='rsmamba-base'):
        build_encoder('vmamba', 64)


@pytest.mark.parametrize('name', ['rsmamba-block', 'rsmamba-block-huggingface'])
def test_training_step_reaches_every_parameter(name: str) -> None:
    model = build_encoder(name, 64)
    make_step(model, 64, training=True)()
    assert all(p.grad is not None for p in model.parameters())


def test_peak_memory_holds_weights_and_grows_with_the_input() -> None:
    weights = sum(p.numel() * 4 for p in build_encoder('resnet-50', 64).parameters()) / 2**20
    small = peak_memory('resnet-50', 64, training=False)
    large = peak_memory('resnet-50', 512, training=True)
    assert small is not None
    assert large is not None
    assert weights * 0.9 < small < large


def test_whole_run_writes_json_and_table(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        main(
            *'benchmark encoders --encoders rsmamba-block rsmamba-block-huggingface --sides 64 '
            f'--modes infer --rounds 2 --no-memory --out {tmp_path}'.split()
        )
    finally:
        torch.set_num_threads(threads)
    records = json.loads((tmp_path / 'benchmark.json').read_text())['records']
    assert [record['encoder'] for record in records] == [
        'rsmamba-block',
        'rsmamba-block-huggingface',
    ]
    assert records[0]['multiply_adds'] > 0
    assert len(records[0]['all_seconds']) == 2
    assert 'rsmamba-block' in (tmp_path / 'benchmark.md').read_text()
