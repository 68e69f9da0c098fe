"""The documentation as a site: README, docs, the READMEs of parts, the notebook and the docstrings.

Gathers the pages in build/docs/pages, where links from one to another lead as they do in the
repository, and has Zensical make build/docs/site of them. Needs the extra docs (make docs has it).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where files that are no pages of docs/ stand on the site.
PLACES = {
    'README.md': 'index.md',
    'CHANGELOG.md': 'changelog.md',
    'CONTRIBUTING.md': 'contributing.md',
    'data/README.md': 'data.md',
}
NOTEBOOK = 'docs/first_steps.ipynb'
# In the menu of docs/zensical.toml.
MORE = '    # What is not named above.'
LINK = re.compile(r'(!?\[[^\]]*\])\(([^)\s]+)\)')


def page_names(root: Path) -> dict[str, str]:
    """From each file of the repository that is a page to its name on the site."""
    names = dict(PLACES)
    for file in (root / 'docs').glob('*.md'):
        names[f'docs/{file.name}'] = file.name
    for file in (root / 'rs4d').rglob('README.md'):
        part = '_'.join(file.parent.relative_to(root / 'rs4d').parts)
        names[file.relative_to(root).as_posix()] = f'parts/{part}.md'
    names[NOTEBOOK] = 'first_steps.md'
    return names


def gather(root: Path, target: Path) -> list[str]:
    """Write the pages and what they link to, except the notebook.

    Args:
        root: The repository.
        target: An empty folder.

    Returns:
        The links that lead nowhere, as ``page: link``.
    """
    names, lost = page_names(root), []
    for source, name in names.items():
        if source == NOTEBOOK:
            continue
        text = (root / source).read_text(encoding='utf-8')
        page = target / name
        page.parent.mkdir(parents=True, exist_ok=True)

        def replaced(found: re.Match[str], source: str = source, name: str = name) -> str:
            link = _on_the_site(root, target, names, source, name, found[2])
            if link is None:
                lost.append(f'{source}: {found[2]}')
            return f'{found[1]}({link or found[2]})'

        page.write_text(_outside_of_code(text, replaced), encoding='utf-8')
    return lost


def _outside_of_code(text: str, replaced: Callable[[re.Match[str]], str]) -> str:
    """Replace links where they are none of an example's."""
    parts = re.split(r'(^ *```.*?^ *```$|`[^`\n]*`)', text, flags=re.DOTALL | re.MULTILINE)
    # Put together again before links are looked for, as the text of a link may be code.
    for number in range(1, len(parts), 2):
        parts[number] = parts[number].replace('](', ']\0(')
    return LINK.sub(replaced, ''.join(parts)).replace(']\0(', '](')


def _on_the_site(
    root: Path, target: Path, names: dict[str, str], source: str, name: str, link: str
) -> str | None:
    """A link of a file of the repository as it is on the site; None if nothing is there."""
    if re.match(r'[a-z]+:', link) or link.startswith('#'):
        return link
    path, mark, anchor = link.partition('#')
    place = os.path.normpath(os.path.join(os.path.dirname(source), path))
    if place in names:
        there = names[place]
    elif (root / place).is_file():
        there = place.removeprefix('docs/')
        (target / there).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / place, target / there)
    else:
        return None
    return os.path.relpath(there, os.path.dirname(name) or '.') + mark + anchor


def menu(root: Path) -> str:
    """The settings of the site, whose menu ends with the pages that it does not name."""
    text = (root / 'docs/zensical.toml').read_text(encoding='utf-8')
    more = [name for name in page_names(root).values() if f'"{name}"' not in text]
    assert text.count(MORE) == 1
    return text.replace(MORE, '\n'.join(f'    "{name}",' for name in sorted(more)))


def write_notebook(root: Path, target: Path) -> None:
    """Run the notebook, and write it and its pictures as a page."""
    command = [sys.executable, '-m', 'nbconvert', '--to', 'markdown', '--execute']
    names = ['--output', 'first_steps', '--output-dir', os.fspath(target)]
    with tempfile.TemporaryDirectory() as folder:
        # What it writes goes where it lies.
        copy = shutil.copy(root / NOTEBOOK, folder)
        subprocess.run([*command, *names, copy], check=True)


def main(argv: list[str] | None = None) -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=ROOT / 'build/docs')
    parser.add_argument(
        '--no-notebook', action='store_true', help='leave the notebook out: quicker'
    )
    args = parser.parse_args(argv)
    pages = args.out / 'pages'
    shutil.rmtree(args.out, ignore_errors=True)
    pages.mkdir(parents=True)
    lost = gather(ROOT, pages)
    if lost:
        sys.exit(f'These links lead nowhere: {"; ".join(lost)}')
    if args.no_notebook:
        (pages / 'first_steps.md').write_text('# First steps\n\nLeft out of this build.\n')
    else:
        write_notebook(ROOT, pages)
    (args.out / 'zensical.toml').write_text(menu(ROOT), encoding='utf-8')
    subprocess.run(
        ['zensical', 'build', '--strict', '--clean'],
        cwd=args.out,
        check=True,
        env=os.environ | {'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'},
    )
    print(f'Site: {args.out / "site" / "index.html"}')


if __name__ == '__main__':
    main()
