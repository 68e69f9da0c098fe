import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from rs4d.datasets import DatasetNotFoundError, ImageDecodeError, SA1BDataset

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]


@pytest.fixture
def shards(tmp_path):
    for i in range(40):
        folder = tmp_path / f'sa_{i % 3:06d}'
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f'sa_{i}.jpg'), np.full((20, 30, 3), i, np.uint8))
        (folder / f'sa_{i}.json').write_text('{}')
    return tmp_path


def names(root, **kwargs):
    dataset = SA1BDataset(data_root=str(root), **kwargs)
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def test_lists_nested_images_in_order(shards):
    found = names(shards)
    assert len(found) == 40
    assert found == sorted(found)
    assert all(name.endswith('.jpg') for name in found)


def test_splits_are_disjoint_and_complete(shards):
    train, val = names(shards, split='train', num_val=3), names(shards, split='val', num_val=3)
    assert len(val) == 3
    assert sorted(train + val) == names(shards)


def test_at_most_a_tenth_is_held_out(shards):
    assert len(names(shards, split='val', num_val=1000)) == 4


def test_fractions_are_nested_and_depend_on_the_seed(shards):
    quarter = names(shards, fraction=0.25)
    half = names(shards, fraction=0.5)
    assert len(quarter) == 10
    assert set(quarter) < set(half)
    assert quarter == names(shards, fraction=0.25)
    assert quarter != names(shards, fraction=0.25, seed=1)


def test_split_does_not_depend_on_where_the_folder_is(shards, tmp_path_factory):
    link = tmp_path_factory.mktemp('elsewhere') / 'link'
    link.symlink_to(shards, target_is_directory=True)
    here = [n.removeprefix(str(shards)) for n in names(shards, split='val')]
    assert here == [n.removeprefix(str(link)) for n in names(link, split='val')]


def test_new_shard_moves_few_held_out_images(shards):
    before = set(names(shards, split='val', num_val=4))
    cv2.imwrite(str(shards / 'sa_000000/sa_new.jpg'), np.zeros((20, 30, 3), np.uint8))
    assert len(before & set(names(shards, split='val', num_val=4))) >= 3


def test_several_roots(shards):
    roots = [str(shards / 'sa_000001'), str(shards / 'sa_000000')]
    dataset = SA1BDataset(data_root=roots)
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    assert len(paths) == 13 + 14
    assert paths[0].startswith(roots[0])
    assert paths[-1].startswith(roots[1])


def test_batches_of_a_data_loader_have_no_instances(shards):
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=1,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='SA1BDataset', data_root=str(shards), pipeline=PIPELINE),
        )
    )
    batch = next(iter(loader))
    assert [x.shape for x in batch['inputs']] == [(3, 20, 30)] * 4
    assert batch['inputs'][0].dtype == torch.uint8
    assert all(len(sample.gt_instances) == 0 for sample in batch['data_samples'])
    assert len({sample.img_id for sample in batch['data_samples']}) == 4


def test_missing_and_empty_roots(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r'nowhere.*RS4D_DATA_ROOT'):
        SA1BDataset(data_root=str(tmp_path / 'nowhere'))
    (tmp_path / 'sa_000000.tar').touch()
    with pytest.raises(DatasetNotFoundError, match='Extract'):
        SA1BDataset(data_root=str(tmp_path))


def test_single_image_leaves_nothing_to_train_on(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DatasetNotFoundError, match='held out'):
        SA1BDataset(data_root=str(tmp_path), split='train')


def test_broken_image_is_named(shards):
    (shards / 'sa_000000/sa_0.jpg').write_bytes(b'nothing')
    with pytest.raises(ImageDecodeError, match=r'sa_0\.jpg'):
        SA1BDataset(data_root=str(shards), num_header_checks=40)
    dataset = SA1BDataset(data_root=str(shards), num_header_checks=0, pipeline=PIPELINE)
    with pytest.raises(ImageDecodeError, match=r'sa_0\.jpg'):
        list(dataset)


@pytest.mark.parametrize('kwargs', [dict(split='test'), dict(fraction=0), dict(num_val=0)])
def test_arguments_out_of_range(shards, kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        SA1BDataset(data_root=str(shards), **kwargs)


def test_real_shard(data_root):
    found = names(data_root('SA1B'))
    assert len(found) == 24
    assert len(names(data_root('SSDD') / 'imgs')) == 838 + 232
