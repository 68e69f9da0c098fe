"""The checks of a machine's GPU, by their way on the CPU."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rs4d.analysis.gpu_check import Finding, Setting, checks, encoders, run_checks, trainings
from rs4d.analysis.gpu_check.engines import check_engines
from rs4d.cli import main
from rs4d.errors import ConfigError
from rs4d.ops import Engine, added_engine, chunked

CPU = torch.device('cpu')


def test_engines_of_this_machine_pass() -> None:
    findings = list(check_engines(CPU, length=70))
    outcomes = {found.subject.split(',')[0]: found.outcome for found in findings}
    assert outcomes['chunked'] == outcomes['reference'] == 'passed'
    assert not [found for found in findings if found.outcome == 'failed']
    assert sum(found.subject.startswith('chunked') for found in findings) == 8


def test_a_wrong_engine_fails_with_its_error() -> None:
    def scan(*args: Tensor, reverse: bool) -> Tensor:
        return 1.001 * chunked.scan(*args, reverse=reverse)

    with added_engine('slightly wrong', Engine(scan)):
        findings = {x.subject: x for x in check_engines(CPU, length=70)}
    wrong = findings['slightly wrong, both directions, float32']
    assert wrong.outcome == 'failed'
    assert 'relative error 1.0e-03' in wrong.text
    assert findings['slightly wrong, convolution, float32'].outcome == 'passed'


def test_encoders_are_compared_with_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, 'NAMES', ('rsmamba-block', 'rsmamba-small'))
    findings = list(encoders.measure_encoders(CPU, side=64, rounds=2))
    assert [found.outcome for found in findings] == ['measured'] * 4
    assert findings[0].subject == 'rsmamba-block, 64x64, float32'
    assert findings[3].text.endswith('1.00 times as fast as rsmamba-small')


def test_training_on_generated_scenes(tmp_path: Path) -> None:
    small: Any = dict(images=8, image_size=64, variants=dict(float32=()))
    findings = list(trainings.check_trainings(tmp_path, **small))
    assert [found.outcome for found in findings] == ['passed', 'not run'], findings
    assert 'first loss' in findings[0].text


@pytest.mark.parametrize(
    ('losses', 'outcomes'),
    [
        ([2.0, 1.0], ['passed', 'passed']),
        ([2.0, float('nan')], ['passed', 'failed']),
        ([2.2, 1.0], ['passed', 'failed']),
    ],
)
def test_a_variant_begins_as_float32_and_stays_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], outcomes: list[str]
) -> None:
    def steps(work_dir: Path) -> tuple[list[float], float]:
        return ([2.0, 1.5] if work_dir.name == 'float32' else losses), 0.1

    monkeypatch.setattr(trainings, '_run', lambda *args: None)
    monkeypatch.setattr(trainings, '_steps', steps)
    variants: Any = dict(float32=(), amp=('--amp', 'bf16'))
    findings = list(trainings.check_trainings(tmp_path, images=2, variants=variants))
    assert [found.outcome for found in findings[:2]] == outcomes


def test_a_process_that_fails_tells_its_last_line(tmp_path: Path) -> None:
    fails = [sys.executable, '-c', 'print("so that"); raise SystemExit("is why")']
    fault = trainings._run(fails, tmp_path / 'log')
    assert fault is not None
    assert fault.startswith('exit code 1')
    assert fault.endswith('is why')
    waits = 'import signal, sys, time\n'
    waits += 'signal.signal(15, lambda *_: sys.exit(143))\ntime.sleep(60)'
    assert trainings._run([sys.executable, '-c', waits], tmp_path / 'log', limit=2) is None


def test_ssdd_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RS4D_DATA_ROOT', str(tmp_path))
    (found,) = trainings.train_on_ssdd(tmp_path, 1)
    assert found.outcome == 'not run'
    assert 'RS4D_DATA_ROOT' in found.text


def test_what_breaks_is_a_finding_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def breaks(setting: Setting) -> list[Finding]:
        raise RuntimeError('no kernel image is available')

    monkeypatch.setitem(checks.CHECKS, 'encoders', breaks)
    monkeypatch.setitem(
        checks.CHECKS, 'engines', lambda _: [Finding('engines', 'x', 'passed', 'right')]
    )
    only = ['--only', 'encoders', 'engines']
    assert main('gpu-check', '--device', 'cpu', '--out', tmp_path / 'out', *only) == 1
    assert '1 of 2 failed' in capsys.readouterr().out
    record = json.loads((tmp_path / 'out' / 'gpu_check.json').read_text())
    assert [x['outcome'] for x in record['findings']] == ['failed', 'passed']
    assert 'no kernel image' in record['findings'][0]['text']
    assert record['device'] == 'cpu'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='--device cpu'):
        run_checks(Setting('cuda', tmp_path))
