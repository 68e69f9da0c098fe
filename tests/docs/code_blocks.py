"""The code blocks of Markdown pages, and a folder in which their commands can be run at small size."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pytest
import torch

from rs4d.cli import main, parse
from rs4d.config import load_config
from rs4d.datasets.scenes import ensure_scenes
from rs4d.datasets.scenes.mosaic import write_mosaic

ROOT = Path(__file__).parents[2]
CONFIG = 'rs4d::rs4d/rs4d-tiny_light_coco.py'
# A second's training, of any config with a light detector.
SMALL = (
    *('image_size=64', 'max_epochs=1', 'train_batch_size=4', 'num_workers=0'),
    *('model.backbone.arch.num_layers=2', 'model.backbone.out_indices=1'),
    *('model.test_cfg.nms_pre=20', 'model.test_cfg.max_per_img=5', 'model.test_cfg.score_thr=0.0'),
)
MORE = {
    'train': ('--cfg-options', *SMALL),
    'test': ('--cfg-options', *SMALL),
    'predict': ('--device', 'cpu', '--whole', '--cfg-options', *SMALL),
    'stats': (),
    'tile': ('--size', '64', '--overlap', '16'),
    'generate-scenes': ('--num-train', '2', '--num-val', '1', '--size', '64'),
}
TOOLS = re.compile(r"main\('([\w-]+)'(?:, '([\w-]+)')?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, with what stands in the HTML comment above it.

    Attributes:
        page: Its page, from the root.
        line: Of the fence.
        language: What stands behind the fence.
        text: The code.
        marker: The comment; empty without one.
    """

    page: str
    line: int
    language: str
    text: str
    marker: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    lines = page.read_text(encoding='utf-8').splitlines()
    number = 0
    while number < len(lines):
        fence = re.match(r'^( *)(```+)(\w*)', lines[number])
        if fence is None:
            number += 1
            continue
        end = number + 1
        while lines[end].strip() != fence[2]:
            end += 1
        above = [line for line in lines[:number] if line.strip()][-1:]
        comment = re.fullmatch(r'\s*<!-- (.+) -->', above[0]) if above else None
        name = page.relative_to(ROOT).as_posix()
        text = '\n'.join(line.removeprefix(fence[1]) for line in lines[number + 1 : end])
        found.append(Block(name, number + 1, fence[3], text, comment[1] if comment else ''))
        number = end + 1
    return found


def commands_of(text: str) -> Iterator[list[str]]:
    """The commands of a shell block, with its own variables filled in; pipes are none of our docs'."""
    variables: dict[str, str] = {}
    for line in re.sub(r'\\\n\s*', ' ', text).splitlines():
        for name, value in variables.items():
            line = line.replace(f'${name}', value)
        words = shlex.split(line.partition(' > ')[0], comments=True)
        if len(words) == 1 and re.fullmatch(r'[A-Z_]+=\S+', words[0]):
            name, _, value = words[0].partition('=')
            variables[name] = value
        elif words:
            yield words


def command_of_ours(words: list[str]) -> list[str] | None:
    """A command line as that of ``rs4d``; None if it is another program's."""
    if words[0] == 'rs4d':
        return words[1:]
    if words[0] == 'python' and words[1].startswith('tools/'):
        found = TOOLS.search((ROOT / words[1]).read_text())
        return [*filter(None, found.groups()), *words[2:]] if found else None
    return None


class World:
    """A folder with the files that the docs speak of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, folder: Path, checkpoint: Path) -> 'World':
        """Write photos with labels, a scene with a layer of roofs, and a checkpoint of few blocks."""
        world = folder / 'world'
        ensure_scenes(folder / 'scenes', num_train=5, num_val=1, size=64, seed=0)
        shutil.copytree(folder / 'scenes/imgs', world / 'photos')
        content = json.loads((folder / 'scenes/annotations/scenes_train.json').read_text())
        (world / 'data/mine').mkdir(parents=True)
        for name in ('labels.json', 'data/mine/train.json', 'data/mine/val.json'):
            (world / name).write_text(json.dumps(content))
        write_mosaic(folder / 'mosaic', 512)
        shutil.copy(folder / 'mosaic/scene.tif', world / 'scene.tif')
        shutil.copy(folder / 'mosaic/scene.tif', world / 'tile.tif')
        roofs = geopandas.read_file(folder / 'mosaic/truth.gpkg', layer='truth').rename(
            columns={'class': 'kind'}
        )
        roofs.to_file(world / 'roofs.gpkg')
        for place in ('work_dirs/roofs', 'work_dirs/rs4d-tiny_light_coco', '.'):
            (world / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(checkpoint, world / place / 'latest.pth')
        for name in ('configs', 'tools'):
            (world / name).symlink_to(ROOT / name)
        assert main('push', checkpoint, world / 'encoder.safetensors', '--part', 'encoder') == 0
        return cls(world)

    def run_shell(self, block: Block) -> None:
        """Run a shell block's commands in this process, each at small size."""
        for words in commands_of(block.text):
            ours = command_of_ours(words)
            assert ours is not None, f'{block}: mark why `{words[0]}` is not run'
            self._run(block, [self._filled(word) for word in ours])

    def _run(self, block: Block, words: list[str]) -> None:
        more = list(MORE.get(words[0], ()))
        if words[0] == 'predict' and (words[1] == '-' or words[1].endswith('.safetensors')):
            more = ['--device', 'cpu', '--whole']
        if words[0] == 'train':
            # A checkpoint of this world stands where a training of the reader's will be.
            shutil.rmtree(Path('work_dirs', Path(words[1]).stem), ignore_errors=True)
        shutil.rmtree('found', ignore_errors=True)
        _fresh()
        code = main(*words, *more)
        assert code == 0, f'{block}: rs4d {shlex.join(words)} ended with {code}'

    def _filled(self, word: str) -> str:
        return {'CONFIG': CONFIG, 'CHECKPOINT': 'latest.pth'}.get(word, word)

    def read_study(self, block: Block) -> None:
        """Have a study's runs listed."""
        Path('study.yaml').write_text(block.text)
        assert main('study', 'study.yaml', '--list') == 0, str(block)

    def run_python(self, block: Block) -> None:
        """Run a block of Python as a program."""
        exec(compile(block.text, str(block), 'exec'), {'__name__': 'docs'})

    def read_config(self, block: Block, before: list[Block]) -> None:
        """Read a block as a config: its own, or one that goes on from the page's last one."""
        text = block.text
        if '_base_' not in text:
            bases = [one.text for one in before if '_base_ =' in one.text]
            text = f'{bases[-1] if bases else f"_base_ = {CONFIG!r}"}\n{text}'
        path = Path('config.py')
        path.write_text(text.replace("'../_base_", f"'{ROOT.as_posix()}/configs/_base_"))
        load_config(path)


def check_usage(block: Block) -> None:
    """Read every command of ours with its own parser, without running it."""
    for words in commands_of(block.text):
        ours = command_of_ours(words)
        if ours is None:
            continue
        try:
            parse(ours)
        except SystemExit as error:
            pytest.fail(f'{block}: `rs4d {shlex.join(ours)}` is wrong usage ({error.code})')


def _fresh() -> None:
    """As in a process of its own: MMEngine keeps one logger and one visualizer for each."""
    from mmengine.logging import MMLogger

    from rs4d.visualization import LegibleVisualizer

    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    MMLogger._instance_dict.clear()
    LegibleVisualizer._instance_dict.clear()
    torch.manual_seed(0)
    np.random.seed(0)
