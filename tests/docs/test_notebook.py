"""The notebook runs from its first cell to its last, in a kernel of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / 'docs/first_steps.ipynb'


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # Outputs belong to the site, which makes them.
    assert not any(cell.get('outputs') for cell in notebook.cells)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name='python3',
        resources={'metadata': {'path': str(tmp_path)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    pictures = [output for output in outputs if 'image/png' in output.get('data', {})]
    assert len(pictures) == 2
    assert (tmp_path / 'work_dirs/first_steps/found/predictions.gpkg').is_file()
    assert 'objects in 1 inputs' in str(outputs)
