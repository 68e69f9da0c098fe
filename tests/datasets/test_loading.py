"""Loading at reduced size, against OpenCV's full decode and resize."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from rs4d.datasets import AnnotationError, DatasetNotFoundError, ImageDecodeError, LoadImage
from rs4d.datasets.image_reading import reduction


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    wave = [np.sin(x / 23), np.cos(y / 17), np.sin((x + y) / 31)]
    return (127 + 100 * np.stack(wave, -1)).astype(np.uint8)


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / 'a.jpg'
    cv2.imwrite(str(path), smooth(300, 450))
    return path


@pytest.mark.parametrize(
    ('scale', 'factor'),
    [(None, 1), ((450, 450), 1), ((226, 226), 1), ((225, 225), 2), ((100, 100), 4), ((56, 56), 8)],
)
def test_reduced_as_far_as_the_resize_allows(
    jpeg: Path, scale: tuple[int, int] | None, factor: int
) -> None:
    image = LoadImage(scale)(dict(img_path=str(jpeg)))['img']
    assert image.shape[:2] == tuple(-(-side // factor) for side in (300, 450))
    if scale is not None:
        assert max(image.shape) >= max(scale)


def test_little_differs_from_full_decode_and_resize(jpeg: Path) -> None:
    full = cv2.imread(str(jpeg))
    np.testing.assert_array_equal(LoadImage()(dict(img_path=str(jpeg)))['img'], full)
    reduced = LoadImage((100, 100))(dict(img_path=str(jpeg)))['img']
    ours = cv2.resize(reduced, (100, 67), interpolation=cv2.INTER_AREA).astype(float)
    theirs = cv2.resize(full, (100, 67), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(ours - theirs).mean() < 2


def test_other_formats_are_decoded_in_full(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), smooth(80, 100))
    assert LoadImage((10, 10))(dict(img_path=str(tmp_path / 'a.png')))['img'].shape[0] == 80


def test_annotated_images_are_decoded_in_full(jpeg: Path) -> None:
    noted = dict(img_path=str(jpeg), width=450, height=300)
    assert LoadImage((100, 100))(noted)['img'].shape[0] == 300
    with pytest.raises(AnnotationError, match=r'a\.jpg.*450x300.*300x450'):
        LoadImage()(noted | dict(width=300, height=450))


def test_earlier_configs_name_it_otherwise() -> None:
    assert TRANSFORMS.get('LoadReducedImage') is LoadImage


def test_shorter_side_counts_too() -> None:
    # Fitted into 400x100 it shrinks by 2, for its longer side.
    assert reduction((800, 100), (400, 100)) == 2
    assert reduction((800, 100), (800, 25)) == 4


def test_broken_images_are_named(jpeg: Path, tmp_path: Path) -> None:
    data = jpeg.read_bytes()
    for name, content in (('half', data[: len(data) // 2]), ('empty', b''), ('text', b'no image')):
        path = tmp_path / f'{name}.jpg'
        path.write_bytes(content)
        with pytest.raises(ImageDecodeError, match=rf'{name}\.jpg'):
            LoadImage()(dict(img_path=str(path)))
    with pytest.raises(DatasetNotFoundError, match='gone'):
        LoadImage()(dict(img_path=str(tmp_path / 'gone.jpg')))
