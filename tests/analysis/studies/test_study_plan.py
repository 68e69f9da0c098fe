"""A study's file: which runs come of it, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from rs4d.analysis.studies import StudyError, read_study
from rs4d.analysis.studies.settings import config_text, filled, merged, nested, scaled
from rs4d.config import load_config
from rs4d.config.packages import SHIPPED
from rs4d.models.part_checks import check_parts

Write = Callable[..., str]
CHAIN = """
title: A chain
seeds: [0, 1]
settings: {num_workers: 0}
steps:
  teacher: {command: cache-teacher, config: t.py, settings: {cache_dir: <run>/cache}}
  first:
    config: a.py
    epochs: 10
    settings: {cache_dir: <teacher>/cache}
    grid:
      how:
        plain: {}
        noisy: {settings: {model.noise: 0.5}, scaled: {model.schedule.warmup: 100}, seeds: [0]}
  second:
    epochs: 4
    validations: 2
    grid:
      data:
        A: {config: b.py}
        B: {config: c.py, epochs: 6}
    settings: {model.init_cfg.checkpoint: <first>/latest.pth}
figures: {coco/segm_mAP: mask AP}
curves: [coco/segm_mAP]
"""


def test_a_chain_of_steps(write: Write) -> None:
    study = read_study(write(CHAIN))
    assert [run.name for run in study.runs] == [
        'teacher/seed0',
        'first/plain_seed0',
        'first/plain_seed1',
        'first/noisy_seed0',
        'second/plain_A_seed0',
        'second/noisy_A_seed0',
        'second/plain_A_seed1',
        'second/plain_B_seed0',
        'second/noisy_B_seed0',
        'second/plain_B_seed1',
    ]
    assert [run.number for run in study.runs] == list(range(10))
    assert study.runs[4:] == study.ends()
    noisy, last = study.runs[3], study.runs[-1]
    assert noisy.settings['model'] == dict(noise=0.5, schedule=dict(warmup=100))
    assert (last.config, last.epochs, last.seed, last.validations) == ('c.py', 6, 1, 2)
    assert [run.name for run in last.chain()] == [last.name, 'first/plain_seed1', 'teacher/seed0']


def test_scale_options_and_seeds(write: Write) -> None:
    options = {'num_workers': 3, 'model.noise': 0.7}
    study = read_study(write(CHAIN), 0.04, options, seeds=[0])
    assert {run.seed for run in study.runs} == {0}
    noisy = next(run for run in study.runs if run.name == 'first/noisy_seed0')
    assert noisy.settings['model'] == dict(noise=0.7, schedule=dict(warmup=4))
    assert (noisy.settings['num_workers'], noisy.epochs) == (3, 1)
    # What the teacher says has to be of the images that the student sees.
    assert study.runs[0].settings['num_workers'] == 3
    with pytest.raises(StudyError, match='none of those that are asked for'):
        read_study(write(CHAIN), seeds=[7])


def test_one_run_for_all_seeds(write: Write) -> None:
    study = read_study(write(CHAIN.replace('    epochs: 10\n', '    epochs: 10\n    seeds: [0]\n')))
    assert len([run for run in study.runs if run.step == 'first']) == 2
    ends = [run for run in study.ends() if run.labels == dict(how='plain', data='A')]
    assert [(run.seed, run.after['first'].seed) for run in ends] == [(0, 0), (1, 0)]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('title: A chain', ''), 'lacks title'),
        (('epochs: 10', 'epochs: 10\n    epoch: 3'), "'first' has epoch, which nothing reads"),
        (('epochs: 10', ''), 'needs a budget'),
        (('epochs: 10', 'epochs: 10\n    cpu_minutes: 3'), 'either epochs or cpu_minutes'),
        (('epochs: 10', 'epochs: 1.5'), 'budget 1.5'),
        (('<first>/', '<frist>/'), 'names <frist>'),
        (('<first>/', '<second>/'), 'names <second>'),
        (('A: {config: b.py}', 'A: {}'), "'second', A has no config"),
        (('seeds: [0, 1]', 'seeds: 3'), 'seeds are 3'),
        (('{config: b.py}', '{config: b.py, includes: teacher}'), 'includes the minutes'),
        (('plain: {}', 'plain: {}\n        plain: {}'), "'plain' stands twice"),
        (('cache-teacher', 'predict'), "command 'predict'"),
        (('figures:', 'steps: ['), 'not valid YAML'),
        (('noisy:', '"plain ":'), "share the folder 'first/plain_seed0'"),
        (('{model.noise: 0.5}', '{a.0.b: 1}'), 'leads into a list'),
        (('warmup: 100', 'warmup: 0.5'), 'only whole numbers'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_is_refused(write: Write, change: tuple[str, str], message: str) -> None:
    assert change[0] in CHAIN
    with pytest.raises(StudyError, match=message.replace('(', r'\(')):
        read_study(write(CHAIN.replace(*change)))


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match='cannot be read'):
        read_study(str(tmp_path / 'none.yaml'))


def test_numbers_with_an_exponent_are_numbers(write: Write) -> None:
    study = read_study(write(CHAIN.replace('num_workers: 0', 'lr: 8e-4, name: 1e-x, b: 1.5e3')))
    settings = study.runs[1].settings
    assert [settings[key] for key in ('lr', 'name', 'b')] == [8e-4, '1e-x', 1500.0]


def test_settings_join_as_configs_do() -> None:
    lower = nested({'a.b': 1, 'a.c': dict(type='X', p=1), 'd': [1]})
    upper = nested({'a.c': {'_delete_': True, 'type': 'Y'}, 'a.b': {'e.f': 2}})
    assert merged(lower, upper) == dict(
        a=dict(b=dict(e=dict(f=2)), c={'_delete_': True, 'type': 'Y'}), d=[1]
    )
    assert scaled(dict(a=dict(b=100), c=1), 0.1) == dict(a=dict(b=10), c=1)


def test_folders_are_filled_in(tmp_path: Path) -> None:
    value = dict(a='<run>/x', b=['<first>', 3], c='${ref}')
    assert filled(value, lambda name: tmp_path / name) == dict(
        a=f'{tmp_path}/run/x', b=[f'{tmp_path}/first', 3], c='${ref}'
    )


def test_the_config_of_a_run_reads(tmp_path: Path) -> None:
    """Dicts join, _delete_ replaces, and the references of the config below follow."""
    settings = nested(
        {
            'max_epochs': 3,
            'model.corruption.schedule': {'_delete_': True, 'type': 'FixedSchedule'},
            'default_hooks.cpu_clock': dict(type='CpuClockHook'),
        }
    )
    name = 'rs4d::distill/rs4d-tiny-stem_efficientnet-lite0_mixed.py'
    file = tmp_path / 'a' / 'config.py'
    file.parent.mkdir()
    for config in (name, str(SHIPPED / 'configs' / name.removeprefix('rs4d::'))):
        file.write_text(config_text(config, settings, file.parent))
        cfg = load_config(file)
        assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].T_max == 3
        assert cfg.model.corruption.schedule == dict(type='FixedSchedule')
        assert cfg.model.corruption.patch_size == 8


SHIPPED_STUDIES = sorted((SHIPPED / 'configs' / 'studies').glob('*.yaml'))


@pytest.mark.parametrize('file', SHIPPED_STUDIES, ids=lambda file: file.stem)
def test_the_configs_of_our_studies_read(file: Path, tmp_path: Path) -> None:
    study = read_study(f'rs4d::studies/{file.name}')
    one_seed = read_study(f'rs4d::studies/{file.name}', 0.1, seeds=[0])
    assert len(one_seed.runs) < len(study.runs)
    for run in one_seed.runs:
        folder = tmp_path / run.name
        folder.mkdir(parents=True)
        text = config_text(run.config, filled(run.settings, lambda name: tmp_path / name), folder)
        (folder / 'config.py').write_text(text)
        cfg = load_config(folder / 'config.py')
        if run.command == 'cache-teacher':
            assert cfg.model.teacher_cache == f'{tmp_path}/run/cache'


def test_the_encoders_that_are_compared(tmp_path: Path) -> None:
    """Each builds and fits its neck; the ViT has the parameters of RSMamba."""
    encoders = {}
    for run in read_study('rs4d::studies/encoders.yaml', seeds=[0]).ends():
        folder = tmp_path / run.name
        folder.mkdir(parents=True)
        text = config_text(run.config, filled(run.settings, lambda name: tmp_path / name), folder)
        (folder / 'run.py').write_text(text)
        model = load_config(folder / 'run.py').model
        start = (model.backbone.get('init_cfg') or {}).get('checkpoint')
        distilled = 'distilled' in run.labels['encoder']
        assert start == (f'{tmp_path}/stage1/latest.pth' if distilled else None)
        if run.labels['data'] == 'NWPU':
            with DefaultScope.overwrite_default_scope('mmdet'):
                built = MODELS.build(model)
            check_parts(built)
            encoders[run.labels['encoder']] = sum(p.numel() for p in built.backbone.parameters())
    assert len(encoders) == 6
    assert encoders['ViT'] == pytest.approx(encoders['RSMamba'], rel=0.1)
