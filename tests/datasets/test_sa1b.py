import io
import tarfile

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
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


def forget_loggers():
    """MMEngine logs with the newest one, which may be another test's."""
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    MMLogger._instance_dict.clear()


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
    with pytest.raises(DatasetNotFoundError, match=r'nor has a tar'):
        SA1BDataset(data_root=str(tmp_path))


def test_single_image_leaves_nothing_to_train_on(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DatasetNotFoundError, match='held out'):
        SA1BDataset(data_root=str(tmp_path), split='train')


@pytest.fixture
def log(tmp_path_factory):
    """Return a function that gives the lines of the run's log."""
    forget_loggers()
    file = tmp_path_factory.mktemp('log') / 'run.log'
    MMLogger.get_instance('run', log_file=str(file), file_mode='a')
    yield lambda: file.read_text().splitlines()
    forget_loggers()


def test_one_broken_image_is_replaced_and_named(shards, log):
    (shards / 'sa_000000/sa_0.jpg').write_bytes(b'nothing')
    dataset = SA1BDataset(data_root=str(shards), num_header_checks=0, pipeline=PIPELINE)
    for _ in range(2):
        keys = [sample['data_samples'].img_path for sample in dataset]
        assert len(keys) == 40
        assert keys[0] == keys[1]  # the next one in its place
    (line,) = [line for line in log() if 'sa_0.jpg' in line]
    assert '(1 broken of 1 read so far)' in line
    with pytest.raises(ImageDecodeError, match=r'sa_0\.jpg'):
        dataset.prepare_data(0)


def tar_with_broken(folder, number, broken):
    """A tar in which some of the images are none."""
    whole = cv2.imencode('.jpg', np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    with tarfile.open(folder / 'sa_000000.tar', 'w') as archive:
        for i in range(number):
            data = b'nothing' if i in broken else whole
            member = tarfile.TarInfo(f'./sa_{i}.jpg')
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def loader_of(root, num_workers):
    return Runner.build_dataloader(
        dict(
            batch_size=8,
            num_workers=num_workers,
            persistent_workers=False,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(
                type='SA1BDataset',
                data_root=str(root),
                num_header_checks=0,
                pipeline=[dict(type='LoadImage'), dict(type='PackDetInputs')],
            ),
        ),
        seed=0,
    )


@pytest.mark.filterwarnings('ignore:This DataLoader will create')  # more workers than processors
def test_workers_count_broken_images_together(tmp_path, log):
    # 3 % of the set, but for none of the workers alone more than 1 % of it.
    broken = set(range(5, 400, 34))
    tar_with_broken(tmp_path, 400, broken)
    with pytest.raises(ImageDecodeError, match=r'5 of the 400 images.*more than 1%'):
        list(loader_of(tmp_path, num_workers=4))
    named = [line for line in log() if 'Another one takes its place' in line]
    assert 5 <= len(named) <= len(broken)


@pytest.mark.filterwarnings('ignore:This DataLoader will create')  # more workers than processors
def test_few_broken_images_are_no_error_and_named_once(tmp_path, log):
    tar_with_broken(tmp_path, 400, {17, 350})
    loader = loader_of(tmp_path, num_workers=4)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        assert sum(len(batch['inputs']) for batch in loader) == 400
        for name in ('sa_17.jpg', 'sa_350.jpg'):
            assert sum(f'/{name}' in line for line in log()) == 1
    assert sum('(2 broken of' in line for line in log()) == 1
    assert loader.dataset._broken.count() == (2, 400)


def test_several_broken_images_of_few_are_an_error(shards):
    for name in ('sa_000000/sa_0.jpg', 'sa_000000/sa_3.jpg'):
        (shards / name).write_bytes(b'nothing')
    with pytest.raises(ImageDecodeError, match=r'2 of the 40.*sa_0\.jpg.*sa_3\.jpg'):
        SA1BDataset(data_root=str(shards), num_header_checks=40)
    dataset = SA1BDataset(data_root=str(shards), num_header_checks=0, pipeline=PIPELINE)
    with pytest.raises(ImageDecodeError, match='1%'):
        list(dataset)


@pytest.fixture
def tars(shards, tmp_path_factory):
    """The same shards as archives, named as Meta does."""
    folder = tmp_path_factory.mktemp('tars')
    for shard in sorted(shards.iterdir()):
        with tarfile.open(folder / f'{shard.name}.tar', 'w') as archive:
            for file in sorted(shard.iterdir()):
                archive.add(file, f'./{file.name}')
    return folder


def entries(*roots, **kwargs):
    dataset = SA1BDataset(data_root=[str(root) for root in roots], **kwargs)
    return [dataset.get_data_info(i) for i in range(len(dataset))]


@pytest.mark.parametrize('split', ['train', 'val', 'all'])
def test_tars_give_the_images_that_their_extracted_files_give(shards, tars, split):
    pipeline = [dict(type='LoadImage'), dict(type='PackDetInputs')]
    samples = []
    for root in (shards, tars):
        dataset = SA1BDataset(
            data_root=str(root), split=split, num_val=4, seed=1, fraction=0.5, pipeline=pipeline
        )
        keys = [dataset.get_data_info(i)['img_key'] for i in range(len(dataset))]
        samples.append((keys, torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])))
    assert samples[0][0] == samples[1][0]
    assert torch.equal(samples[0][1], samples[1][1])


def test_mixed_forms_count_once(shards, tars, tmp_path_factory):
    expected = [entry['img_key'] for entry in entries(shards)]
    assert [entry['img_key'] for entry in entries(tars, shards)] == expected
    assert [entry['img_key'] for entry in entries(shards, tars)] == expected
    mixed = tmp_path_factory.mktemp('mixed')
    for name in ('sa_000000', 'sa_000001'):
        (mixed / name).symlink_to(shards / name, target_is_directory=True)
    for name in ('sa_000001.tar', 'sa_000002.tar'):
        (mixed / name).symlink_to(tars / name)
    found = entries(mixed)
    assert [entry['img_key'] for entry in found] == expected
    assert {entry['img_key'][:9] for entry in found if 'shard' in entry} == {'sa_000002'}


def test_a_list_of_shards(tars, tmp_path):
    wanted = entries(tars, shards=['sa_000002', 'sa_000000'])
    assert {entry['img_key'].split('/')[0] for entry in wanted} == {'sa_000000', 'sa_000002'}
    (tmp_path / 'wanted.txt').write_text('sa_000000.tar\nsa_000002.tar\n')
    assert entries(tars, shards=str(tmp_path / 'wanted.txt')) == wanted
    with pytest.raises(DatasetNotFoundError, match='sa_000009'):
        entries(tars, shards=['sa_000009'])


def test_counts_are_nested_and_depend_on_the_seed(tars):
    few, more = ({e['img_key'] for e in entries(tars, count=n)} for n in (5, 9))
    assert (len(few), len(more)) == (5, 9)
    assert few < more
    assert few != {e['img_key'] for e in entries(tars, count=5, seed=1)}
    assert len(entries(tars, count=1000)) == 40


def test_cut_off_tar_is_used_as_far_as_it_goes(tars, log):
    shard = tars / 'sa_000000.tar'
    with tarfile.open(shard) as archive:
        cut = archive.getmember('./sa_18.jpg')
    shard.write_bytes(shard.read_bytes()[: cut.offset_data + 10])
    found = entries(tars)
    assert 26 < len(found) < 40
    assert all(entry['shard']['size'] > 0 for entry in found)
    entries(tars, split='train')
    (line,) = [line for line in log() if 'sa_000000.tar' in line]
    assert 'sa_18.jpg is cut off' in line
    assert 'about 1 are lost' in line
    assert f'{len(found) - 26} images in it are used' in line


def test_much_lost_in_a_damaged_tar_is_an_error(tars, log):
    shard = tars / 'sa_000000.tar'
    data = bytearray(shard.read_bytes())
    with tarfile.open(shard) as archive:
        second = archive.getmembers()[2]
    data[second.offset + 20 : second.offset + 60] = b'z' * 40
    shard.write_bytes(data)
    with pytest.raises(ImageDecodeError, match=r'images of .* are lost.*sa_000000\.tar'):
        entries(tars)
    assert any('nothing can be read behind' in line for line in log())
    assert len(entries(tars, shards=['sa_000001', 'sa_000002'])) == 26


def test_parts_of_a_data_set_share_its_list(tars):
    train, val = (SA1BDataset(data_root=str(tars), split=split) for split in ('train', 'val'))
    assert train.data_list._images is val.data_list._images
    few = train.get_subset([3, 1])
    assert [few[i] for i in range(2)] == [
        dict(train[i], sample_idx=n) for n, i in enumerate([3, 1])
    ]
    assert train.get_subset(5).data_list[4] == train.data_list[4]
    assert len(SA1BDataset(data_root=str(tars), indices=7, serialize_data=True)) == 7


def test_plain_loading_of_tars_is_explained(tars):
    dataset = SA1BDataset(data_root=str(tars), pipeline=PIPELINE)
    with pytest.raises(DatasetNotFoundError, match='LoadImage'):
        dataset[0]


def test_workers_read_tars(tars):
    loader = Runner.build_dataloader(
        dict(
            batch_size=8,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='SA1BDataset',
                data_root=str(tars),
                pipeline=[dict(type='LoadImage'), dict(type='PackDetInputs')],
            ),
        )
    )
    values = [int(x[0, 0, 0]) for batch in loader for x in batch['inputs']]
    assert len(values) == 40
    assert len(set(values)) > 30


@pytest.mark.parametrize(
    'kwargs', [dict(split='test'), dict(fraction=0), dict(num_val=0), dict(count=0)]
)
def test_arguments_out_of_range(shards, kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        SA1BDataset(data_root=str(shards), **kwargs)


def test_real_shard(data_root):
    found = names(data_root('SA1B'))
    assert len(found) == 24
    assert len(names(data_root('SSDD') / 'imgs')) == 838 + 232
