"""The pages of the site: all are in its menu, and every link from one to another leads somewhere."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools/build_docs.py'))


def repository(folder: Path, **files: str) -> Path:
    for name, text in {'README.md': '', 'CHANGELOG.md': '', 'CONTRIBUTING.md': '', **files}.items():
        path = folder / 'repository' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / 'repository/data').mkdir()
    (folder / 'repository/data/README.md').write_text('')
    return folder / 'repository'


def test_all_links_lead_somewhere(tmp_path: Path) -> None:
    assert TOOL['gather'](ROOT, tmp_path) == []


def test_every_page_is_in_the_menu() -> None:
    menu = tomllib.loads(TOOL['menu'](ROOT))['project']['nav']
    for name in TOOL['page_names'](ROOT).values():
        assert f"'{name}'" in str(menu), name


def test_a_page_that_the_menu_does_not_name(tmp_path: Path) -> None:
    root = repository(tmp_path, **{'docs/new.md': '# New'})
    shutil.copy(ROOT / 'docs/zensical.toml', root / 'docs')
    (figures,) = (
        e['Figures'] for e in tomllib.loads(TOOL['menu'](root))['project']['nav'] if 'Figures' in e
    )
    assert figures[-1] == 'new.md'


def test_links_of_all_sorts(tmp_path: Path) -> None:
    files = {
        'README.md': '[a](docs/a.md#x) [c](configs/c.py) ![p](docs/images/p.png) [w](https://w.w)',
        'docs/a.md': '[up](../README.md) [ops](../rs4d/ops/README.md)\n'
        '```\n[not](a.link)\n```\n[`code`](b.md) [s](#s)',
        'docs/b.md': '`[nor](this)` [none](none.md)',
        'docs/images/p.png': 'p',
        'configs/c.py': 'c',
        'rs4d/ops/README.md': '[a](../../docs/a.md)',
    }
    target = tmp_path / 'pages'
    lost = TOOL['gather'](repository(tmp_path, **files), target)
    assert lost == ['docs/b.md: none.md']
    expected = '[a](a.md#x) [c](configs/c.py) ![p](images/p.png) [w](https://w.w)'
    assert (target / 'index.md').read_text() == expected
    text = '[up](index.md) [ops](parts/ops.md)\n```\n[not](a.link)\n```\n[`code`](b.md) [s](#s)'
    assert (target / 'a.md').read_text() == text
    assert (target / 'parts/ops.md').read_text() == '[a](../a.md)'
    assert (target / 'configs/c.py').read_text() == 'c'


def test_a_link_that_leads_nowhere_ends_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = TOOL['main']
    root = repository(tmp_path, **{'docs/a.md': '[x](x.md)'})
    monkeypatch.setitem(main.__globals__, 'ROOT', root)
    with pytest.raises(SystemExit, match=r'docs/a.md: x.md'):
        main(['--out', str(tmp_path / 'out')])
