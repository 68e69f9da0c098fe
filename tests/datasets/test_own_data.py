"""A data set that a command line names is found, or what is missing is said."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope

from rs4d.config import load_config
from rs4d.datasets import DatasetNotFoundError
from rs4d.datasets.own_data import OwnData


@pytest.fixture
def root(tiny_coco: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set under ``imgs``, with its annotations in ``annotations`` and as ``val.json``."""
    folder = tiny_coco()
    (folder / 'val.json').write_text((folder / 'annotations/train.json').read_text())
    monkeypatch.chdir(folder)
    return folder


def test_nothing_said_changes_nothing() -> None:
    assert OwnData().options() == {}
    assert OwnData(classes=['a', 'b']).options() == {'metainfo.classes': ('a', 'b')}


@pytest.mark.parametrize('train', ['annotations/train.json', 'absolute', 'from elsewhere'])
def test_paths_start_from_the_folder_or_from_here(
    train: str,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = str(root)
    if train == 'absolute':
        train = str(root / 'annotations/train.json')
    elif train == 'from elsewhere':
        monkeypatch.chdir(root / 'annotations')
        train = 'train.json'
    options = OwnData(data, train).options()
    assert options['dataset_type'] == 'CocoInsSegDataset'
    assert options['data_root'] == ''
    assert Path(options['train_annotations']).samefile(root / 'annotations/train.json')
    assert Path(options['val_annotations']).samefile(root / 'val.json')
    for split in ('train', 'val'):
        assert Path(options[f'{split}_images']).samefile(root / 'imgs')


def test_images_beside_the_annotations_need_no_folder(root: Path) -> None:
    options = OwnData(None, 'annotations/train.json', 'val.json').options()
    assert Path(options['train_images']).samefile(root / 'imgs')
    # A test needs no training's file.
    options = OwnData(val='val.json').options(('val',))
    assert options['train_annotations'] == options['train_images'] == ''
    assert Path(options['val_images']).samefile(root / 'imgs')


def test_images_without_objects_are_trained_on(root: Path) -> None:
    """Tiles of ground without objects are kept by those who made them, to be learnt from."""
    file = root / 'val.json'
    content = json.loads(file.read_text())
    kept = content['annotations'][0]['image_id']
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] == kept]
    file.write_text(json.dumps(content))
    options = OwnData('.', 'val.json').options()
    for name in ('rs4d-tiny_light_coco', 'rs4d-tiny_bbox_ssdd'):
        dataset = load_config(f'rs4d::rs4d/{name}.py', options).train_dataloader.dataset
        dataset.filter_cfg.min_size = 1
        with DefaultScope.overwrite_default_scope('mmdet'):
            built = DATASETS.build(dataset)
        assert len(built) == len(content['images']) > 1
        assert sum(len(built.get_data_info(n)['instances']) > 0 for n in range(len(built))) == 1


def test_images_elsewhere(root: Path) -> None:
    (root / 'imgs').rename(root / 'x-rays')
    with pytest.raises(DatasetNotFoundError, match=r"'0\.png'.* Name its folder by --images DIR"):
        OwnData('.', 'annotations/train.json').options()
    options = OwnData('.', 'annotations/train.json', images='x-rays').options()
    assert options['train_images'] == options['val_images'] == 'x-rays'
    (root / 'other').mkdir()
    options = OwnData('.', 'annotations/train.json', images='x-rays', val_images='other').options()
    assert (options['train_images'], options['val_images']) == ('x-rays', 'other')


@pytest.mark.parametrize(
    ('said', 'message'),
    [
        (OwnData('nowhere'), "--data 'nowhere' is no folder"),
        (OwnData('.'), r"'\.' has no 'train\.json': name the annotation file by --train"),
        (OwnData('.', 'a.json'), "--train 'a.json': there is no such file in '.' or the working"),
        (OwnData(None, 'a.json'), "--train 'a.json': there is no such file in the working"),
        (OwnData(val='val.json'), '--train is missing'),
        (OwnData(val='val.json', train='val.json', images='a'), "--images 'a' is no folder"),
    ],
    ids=str,
)
def test_what_is_missing_is_said(said: OwnData, message: str, root: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=message):
        said.options()
