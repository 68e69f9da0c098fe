import json

import pytest

from rs4d.datasets import OutputExistsError
from rs4d.datasets.converters import write_json


def test_json_is_not_replaced_unasked_and_survives_a_failed_write(tmp_path):
    path = tmp_path / 'a/b.json'
    write_json(path, [1])
    with pytest.raises(OutputExistsError, match=r'b\.json.*--overwrite'):
        write_json(path, [2])
    with pytest.raises(TypeError):
        write_json(path, [object()], overwrite=True)
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in path.parent.iterdir()] == ['b.json']
    write_json(path, [3], overwrite=True)
    assert json.loads(path.read_text()) == [3]
