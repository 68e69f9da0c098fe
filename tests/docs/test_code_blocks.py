"""Every code block of README and docs runs at small size, or an HTML comment above it says why not.

The comment is ``<!-- not run: REASON -->``; commands of ours are then still read by their parser. A
page of figures says with its commands how they were measured, and a page with a test of its own is run
there.
"""

import json
import shutil
from pathlib import Path

import pytest
from docs.code_blocks import ROOT, Block, World, blocks_of, check_usage, commands_of
from inference.conftest import checkpoint  # noqa: F401 - a fixture

PAGES = [ROOT / 'README.md', ROOT / 'data/README.md', *sorted((ROOT / 'docs').glob('*.md'))]
# Run as they stand by a test of their own.
ELSEWHERE = {'docs/extend.md': 'tests/docs/test_extend.py', 'docs/export.md': 'tests/export'}
# Commands that measure for minutes; tests/analysis/benchmark runs each of them at small size.
MEASURING = ('benchmark',)
BLOCKS = {page: blocks_of(page) for page in PAGES}
NOT_RUN = 'not run: '


def _runs(block: Block) -> bool:
    if block.page in ELSEWHERE or block.marker.startswith(NOT_RUN):
        return False
    return not (block.language in ('bash', 'shell') and _measures(block))


def _measures(block: Block) -> bool:
    commands = list(commands_of(block.text))
    return bool(commands) and all(c[0] == 'rs4d' and c[1] in MEASURING for c in commands)


@pytest.fixture(scope='session')
def world(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> World:  # noqa: F811
    return World.make(tmp_path_factory.mktemp('docs'), checkpoint)


def test_a_reason_is_a_sentence() -> None:
    for block in [block for blocks in BLOCKS.values() for block in blocks]:
        if block.marker.startswith('not run'):
            assert len(block.marker.removeprefix(NOT_RUN).split()) > 3, str(block)
        assert block.language, f'{block}: name the language, such as bash, python or text'
    for page, place in ELSEWHERE.items():
        tests = [ROOT / place] if place.endswith('.py') else list((ROOT / place).glob('*.py'))
        if (ROOT / page).exists():
            assert any(Path(page).name in test.read_text() for test in tests), page


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_that_are_not_run_are_read(page: Path) -> None:
    for block in BLOCKS[page]:
        if block.language in ('bash', 'shell') and not _runs(block):
            check_usage(block)


@pytest.mark.parametrize(
    'page',
    [page for page in PAGES if any(map(_runs, BLOCKS[page]))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_blocks_run(
    page: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world.folder, tmp_path / 'world', symlinks=True)
    monkeypatch.chdir(tmp_path / 'world')
    monkeypatch.setenv('RS4D_DATA_ROOT', 'data')
    for number, block in enumerate(BLOCKS[page]):
        if not _runs(block):
            continue
        if block.language in ('bash', 'shell'):
            world.run_shell(block)
        elif block.language == 'python' and ('import ' in block.text):
            world.run_python(block)
        elif block.language == 'python':
            world.read_config(block, BLOCKS[page][:number])
        elif block.language == 'yaml':
            world.read_study(block)
        elif block.language == 'json':
            json.loads(block.text)
        else:
            assert block.language == 'text', f'{block}: no way to run {block.language}; mark it'


def test_what_is_neither_run_nor_marked_fails(world: World) -> None:
    with pytest.raises(AssertionError, match='mark why `make`'):
        world.run_shell(Block('x.md', 1, 'bash', 'make demo', ''))
    bad = Block('x.md', 1, 'bash', 'rs4d train CONFIG --no-such-flag', 'not run: it is wrong')
    with pytest.raises(pytest.fail.Exception, match='wrong usage'):
        check_usage(bad)
