"""The picture of several models, from prediction files of tools/test.py to explanations."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from rs4d.visualization.prediction_grid import GAP, HEADER

Call = Callable[..., tuple[int, str, str]]
Trained = tuple[Path, subprocess.CompletedProcess[str]]
TOOL = 'analysis_tools/draw_predictions.py'


@pytest.fixture
def data(scenes: Path) -> tuple[str | Path, ...]:
    """The options that name the truth and the images."""
    truth = scenes / 'annotations' / 'scenes_val.json'
    return '--annotations', truth, '--image-dir', scenes / 'imgs'


@pytest.fixture
def predictions(trained: Trained, config: str, call: Call, tmp_path: Path) -> Path:
    """A file of predictions on both val scenes."""
    out = tmp_path / 'one.json'
    options = ('--work-dir', tmp_path / 'w', '--out', out)
    code, output, _ = call('test.py', config, trained[0] / 'epoch_1.pth', *options)
    assert code == 0, output[-2000:]
    return out


def test_a_row_an_image_and_a_column_a_model(
    predictions: Path, data: tuple, scenes: Path, call: Call, tmp_path: Path
) -> None:
    other = Path(shutil.copy(predictions, tmp_path / 'two.json'))
    out = tmp_path / 'new' / 'grid.png'
    options = (*data, '--score-thr', '0', '--out', out)
    code, output, _ = call(TOOL, predictions, other, *options)
    assert code == 0, output[-2000:]
    cell = 256 + GAP
    # Image, truth and two models; two scenes have instances.
    assert cv2.imread(str(out)).shape == (HEADER + 2 * cell, 4 * cell, 3)

    images = json.loads((scenes / 'annotations' / 'scenes_val.json').read_text())['images']
    chosen = [str(images[1]['id']), images[0]['file_name'], images[1]['file_name']]
    code, output, _ = call(TOOL, predictions, *options, '--images', *chosen)
    assert code == 0, output[-2000:]
    grid = cv2.imread(str(out))
    assert grid.shape == (HEADER + 3 * cell, 3 * cell, 3)
    first, second, third = (grid[HEADER + i * cell :][:256] for i in range(3))
    assert (first == third).all()
    assert (first != second).any()
    assert 'predicts nothing' not in output

    of_one = [x for x in json.loads(predictions.read_text()) if x['image_id'] == images[0]['id']]
    other.write_text(json.dumps(of_one))
    code, output, _ = call(TOOL, predictions, other, *options)
    assert code == 0, output[-2000:]
    assert f'two predicts nothing on {images[1]["file_name"]};' in output


def test_mistakes_are_explained(predictions: Path, data: tuple, call: Call, tmp_path: Path) -> None:
    def rejected(*arguments: str | Path) -> str:
        code, output, paragraph = call(TOOL, *arguments)
        assert code == 2, output[-2000:]
        assert paragraph.startswith('draw: ')
        return paragraph

    out = ('--out', tmp_path / 'a.png')
    missing = tmp_path / 'nowhere'
    assert str(missing) in rejected(missing, *data, *out)
    assert '--annotations' in rejected(predictions, '--annotations', missing, *data[2:], *out)
    assert '--image-dir' in rejected(predictions, *data[:2], '--image-dir', missing, *out)
    assert 'correct the folder' in rejected(predictions, *data[:2], '--image-dir', tmp_path, *out)
    assert '2 titles for 1' in rejected(predictions, *data, *out, '--names', 'a', 'b')
    assert 'same title' in rejected(predictions, predictions, *data, *out)
    assert "'b.png'" in rejected(predictions, *data, *out, '--images', 'b.png')
    assert '.png or .jpg' in rejected(predictions, *data, '--out', tmp_path / 'a.txt')
    text = tmp_path / 'text.json'
    text.write_text('no JSON')
    assert str(text) in rejected(text, *data, *out)
    wrong = tmp_path / 'wrong.json'
    wrong.write_text('{"a": 1}')
    assert 'tools/test.py --out' in rejected(wrong, *data, *out)
    elsewhere = json.loads(predictions.read_text())
    for instance in elsewhere:
        instance['image_id'] += 1000
    wrong.write_text(json.dumps(elsewhere))
    assert 'another data set or split' in rejected(wrong, *data, *out)
    assert not out[1].exists()
