"""The metafiles say what the docs' tables say, of every config."""

from pathlib import Path

import yaml
from mmengine.config import Config

from rs4d.analysis.metafiles import NAME, make_metafiles
from rs4d.cli import main
from rs4d.config.packages import leaf_configs

ROOT = Path(__file__).parents[2]


def test_they_are_in_step():
    texts = make_metafiles(ROOT / 'docs/configs.md', ROOT / 'docs/results.md')
    found = []
    for folder, text in texts.items():
        file = ROOT / 'configs' / folder / NAME
        assert file.read_text() == text, f'{file}: run rs4d configs --metafiles'
        content = yaml.safe_load(text)
        collections = {entry['Name'] for entry in content['Collections']}
        for entry in content['Collections']:
            assert (ROOT / entry['README']).is_file()
        for model in content['Models']:
            assert model['In Collection'] in collections
            found.append(ROOT / model['Config'])
    assert found == leaf_configs(ROOT)


def test_results_are_those_of_the_table():
    models = yaml.safe_load((ROOT / 'configs/rs4d' / NAME).read_text())['Models']
    (light,) = (model for model in models if model['Name'] == 'rs4d-tiny_light_ssdd')
    mask = [x for x in light['Results'] if x['Task'] == 'Instance Segmentation']
    figures = {run['Epochs']: run['Metrics']['mask AP'] for run in mask}
    assert (figures[36], figures[18]) == (57.8, 51.9)
    (base,) = (model for model in models if model['Name'] == 'rs4d-base_bbox_ssdd')
    assert 'Results' not in base


def test_outside_of_a_checkout(tmp_path, capsys):
    assert main('configs', '--metafiles', '--root', tmp_path) == 2
    assert 'Run it in a checkout' in capsys.readouterr().err


def test_mmengine_finds_configs_by_them():
    path = Config._get_cfg_path('rs4d::rs4d/rs4d-tiny_light_ssdd.py', '')[0]
    assert Path(path).samefile(ROOT / 'configs/rs4d/rs4d-tiny_light_ssdd.py')
    assert Path(Config._get_cfg_path('rs4d::_base_/default_runtime.py', '')[0]).is_file()
