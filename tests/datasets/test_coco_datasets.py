import json

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from PIL import Image
from pycocotools.coco import COCO

from rs4d.datasets import (
    AnnotationError,
    CocoInsSegDataset,
    DatasetNotFoundError,
    ImageDecodeError,
    RemoteSensingCocoDataset,
    SSDDInsSegDataset,
)
from rs4d.datasets.annotation_checks import check_annotations

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs'),
]


def build(root, cls=SSDDInsSegDataset, **kwargs):
    settings = dict(
        data_root=str(root),
        ann_file='annotations/train.json',
        data_prefix=dict(img='imgs/'),
        pipeline=PIPELINE,
    )
    return cls(**(settings | kwargs))


def one(**changes):
    """An annotation of the tiny set with changes."""
    annotation = dict(id=1, image_id=0, category_id=1, bbox=[30, 20, 20, 10], area=200, iscrowd=0)
    annotation['segmentation'] = [[30, 20, 50, 20, 50, 30, 30, 30]]
    return [annotation | changes]


def test_sample_holds_the_annotated_instance(tiny_coco):
    sample = build(tiny_coco())[2]
    instances = sample['data_samples'].gt_instances
    assert sample['inputs'].shape == (3, 40, 60)
    assert instances.bboxes.tensor.tolist() == [[30, 20, 50, 30]]
    mask = np.zeros((40, 60), bool)
    mask[20:30, 30:50] = True
    assert np.array_equal(instances.masks.masks[0].astype(bool), mask)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(categories=[dict(id=1, name='boat')]), "the file has ['boat']"),
        (dict(categories=[dict(id=1, name='ship'), dict(id=2, name='x')]), 'do not match'),
        (dict(annotations=[]), 'no usable instance'),
        (dict(annotations=one(area=0)), 'no usable instance'),
        (dict(annotations=one(bbox=[0.1, 0.2, 0.3, 0.3])), 'no usable instance'),
        (dict(annotations=one(bbox=[30, 20, 55, 38])), 'two corners'),
        (dict(annotations=one(bbox=[30, 20])), 'four numbers'),
        (dict(annotations=one(image_id=9)), 'image_id 9'),
        (dict(annotations=one(category_id=9)), 'category_id 9'),
        (dict(annotations=one() + one()), 'more than once'),
        (dict(annotations=[dict(id=1)]), 'lacks image_id'),
        (dict(images=[dict(id=0, file_name='0.png', width=40, height=60)]), 'image_id 1'),
        (dict(images=None), 'not COCO'),
    ],
)
def test_bad_annotations_are_refused_when_built(tiny_coco, changes, says):
    with pytest.raises(AnnotationError, match=r'train\.json') as info:
        build(tiny_coco(**changes))
    assert says in str(info.value)
    assert '\n' not in str(info.value)


def test_size_on_disk_is_compared(tiny_coco):
    root = tiny_coco()
    cv2.imwrite(str(root / 'imgs/1.png'), np.zeros((60, 40, 3), np.uint8))
    with pytest.raises(AnnotationError, match=r'1\.png.*40x60.*60x40'):
        build(root)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('upright', [True, False])
def test_boxes_lie_on_what_they_were_drawn_on(tiny_coco, suffix, upright):
    # Some tools for annotation show an image as its EXIF orientation turns it, some as it is stored.
    drawn = np.zeros((40, 60, 3), np.uint8)
    drawn[20:30, 30:50] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    root = tiny_coco(
        images=[dict(id=i, file_name=f'{i}{suffix}', width=60, height=40) for i in range(3)]
    )
    for i in range(3):
        stored = np.rot90(drawn) if upright else drawn
        Image.fromarray(stored).save(root / f'imgs/{i}{suffix}', exif=exif)
    dataset = build(root, pipeline=[dict(type='LoadImage')])
    sample = dataset[1]
    x1, y1, x2, y2 = map(int, sample['instances'][0]['bbox'])
    assert sample['img'].shape == (40, 60, 3)
    assert sample['img'][y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 200
    assert sample['img'][: y1 - 4].max() < 50


def test_annotation_file_that_is_not_json(tiny_coco):
    root = tiny_coco()
    (root / 'annotations/train.json').write_text('{"images": [')
    with pytest.raises(AnnotationError, match=r'train\.json.*not valid JSON'):
        build(root)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])
def test_annotation_file_in_any_unicode(tiny_coco, encoding):
    root = tiny_coco(info=dict(description='港口'))
    file = root / 'annotations/train.json'
    file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=False), encoding)
    assert len(build(root)) == 3


def test_annotation_file_in_another_encoding(tiny_coco):
    root = tiny_coco()
    (root / 'annotations/train.json').write_text('{"info": "港口"}', 'gbk')
    with pytest.raises(AnnotationError, match=r'train\.json.*another encoding.*UTF-8') as info:
        build(root)
    assert 'cut off' not in str(info.value)


def test_what_is_wrong_with_annotations_and_images_is_said_at_once(tiny_coco):
    root = tiny_coco(annotations=one(iscrowd='0'), categories=[dict(id=1, name='boat')])
    (root / 'imgs/2.png').unlink()
    with pytest.raises(AnnotationError) as info:
        build(root)
    for part in ('malformed flags: 1', "the file has ['boat']", '1 of 3 images are missing'):
        assert part in str(info.value)


def test_flags_that_are_missing_or_say_ignore(tiny_coco):
    first, second = (one(id=i, image_id=i)[0] for i in (0, 1))
    del first['iscrowd']
    dataset = build(tiny_coco(annotations=[first, second | dict(ignore=1)]))
    flags = [[i['ignore_flag'] for i in dataset.get_data_info(n)['instances']] for n in range(3)]
    assert flags == [[0], [1], []]
    # An image without an instance to learn from is empty.
    assert len(build(dataset.data_root, filter_cfg=dict(filter_empty_gt=True))) == 1


def test_annotation_file_that_is_a_list(tiny_coco):
    root = tiny_coco()
    (root / 'annotations/train.json').write_text('[1, 2]')
    with pytest.raises(AnnotationError, match='found a list'):
        build(root)


@pytest.mark.parametrize(
    ('kwargs', 'says'),
    [
        (dict(data_root='nowhere'), 'data root'),
        (dict(ann_file='annotations/other.json'), r'other\.json'),
        (dict(data_prefix=dict(img='pictures/')), 'image folder'),
    ],
)
def test_missing_files_are_named_with_the_remedy(tiny_coco, kwargs, says):
    with pytest.raises(DatasetNotFoundError, match=says) as info:
        build(tiny_coco(), **kwargs)
    assert 'RS4D_DATA_ROOT' in str(info.value)
    assert 'SSDD/imgs' in str(info.value)


def test_missing_images_are_counted(tiny_coco):
    root = tiny_coco()
    (root / 'imgs/2.png').unlink()
    with pytest.raises(DatasetNotFoundError, match=r"1 of 3 images.*'2\.png'"):
        build(root)


@pytest.mark.parametrize('content', [b'', b'not an image', None])
def test_broken_image_is_named(tiny_coco, content):
    root = tiny_coco()
    path = root / 'imgs/1.png'
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    # Not looked at while building, found when read.
    dataset = build(root, num_size_checks=0)
    dataset[0]
    with pytest.raises(ImageDecodeError, match=r'1\.png'):
        dataset[1]
    if content is not None:
        with pytest.raises(ImageDecodeError, match=r'1\.png'):
            build(root)


def test_other_pipeline_errors_pass_through(tiny_coco):
    def fail(results):
        raise ZeroDivisionError('mine')

    with pytest.raises(ZeroDivisionError, match='mine'):
        build(tiny_coco(), pipeline=[fail])[0]


def test_own_classes_may_leave_categories_out(tiny_coco):
    root = tiny_coco(categories=[dict(id=1, name='ship'), dict(id=2, name='pier')])
    dataset = build(root, RemoteSensingCocoDataset, metainfo=dict(classes=('ship',)))
    assert len(dataset) == 3


CATEGORIES = [dict(id=9, name='pier'), dict(id=1, name='ship'), dict(id=4, name='tank')]


@pytest.mark.parametrize(
    ('chosen', 'classes', 'label'),
    [
        (None, ('pier', 'ship', 'tank'), 1),
        (('ship', 'tank', 'pier'), ('ship', 'tank', 'pier'), 0),
        (('tank', 'pier', 'ship'), ('tank', 'pier', 'ship'), 2),
        (('tank', 'ship'), ('tank', 'ship'), 1),
    ],
)
def test_labels_follow_the_classes_whatever_the_ids(tiny_coco, chosen, classes, label):
    root = tiny_coco(categories=CATEGORIES)
    metainfo = dict(classes=chosen) if chosen else {}
    dataset = build(root, CocoInsSegDataset, metainfo=metainfo)
    assert dataset.metainfo['classes'] == classes
    labels = [i['bbox_label'] for n in range(3) for i in dataset.get_data_info(n)['instances']]
    assert set(labels) == {label}


def test_ids_that_are_texts(tiny_coco):
    categories = [dict(id='b', name='pier'), dict(id='a', name='ship')]
    dataset = build(
        tiny_coco(categories=categories, annotations=one(category_id='a')), CocoInsSegDataset
    )
    assert dataset.get_data_info(0)['instances'][0]['bbox_label'] == 1


def test_categories_left_out_are_named():
    content = dict(images=[], annotations=[], categories=CATEGORIES)
    findings = check_annotations(content, ('tank', 'ship')).findings
    said = [f.sentence() for f in findings if f.check == 'categories left out']
    assert len(said) == 1
    assert 'pier' in said[0]


@pytest.mark.parametrize(
    ('name', 'cls', 'counts'),
    [
        ('SSDD', 'SSDDInsSegDataset', {'train': (838, 1891), 'val': (232, 484)}),
        ('NWPU', 'NWPUInsSegDataset', {'train': (470, 2833), 'val': (130, 743)}),
    ],
)
def test_real_sets_have_their_published_counts(data_root, name, cls, counts):
    for split, (images, instances) in counts.items():
        ann_file = data_root(name) / f'annotations/{name}_instances_{split}.json'
        dataset = DATASETS.build(
            dict(
                type=cls,
                data_root=str(data_root(name)),
                ann_file=str(ann_file.resolve()),
                data_prefix=dict(img='imgs/'),
                pipeline=PIPELINE,
                test_mode=True,
            )
        )
        assert len(dataset) == images
        assert sum(len(dataset.get_data_info(i)['instances']) for i in range(images)) == instances
        names = [c['name'] for c in json.loads(ann_file.read_text())['categories']]
        assert list(dataset.metainfo['classes']) == names
        assert len(dataset.metainfo['palette']) == len(names)
        # The masks in the sample are the ones that pycocotools draws.
        coco = COCO(str(ann_file))
        sample = dataset[0]['data_samples']
        truth = [coco.annToMask(a) for a in coco.imgToAnns[sample.img_id]]
        assert np.array_equal(sample.gt_instances.masks.masks, np.stack(truth))
