"""The cost of a training over all its runs."""

import time

from rs4d.engine.provenance import commit
from rs4d.engine.training_record import TrainingRecord


def test_minutes_and_machines_add_up(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    first = TrainingRecord()
    first.begin()
    now[0] += 90
    saved = first.state(images=8, batch_size=2)
    assert saved['minutes'] == 1.5
    second = TrainingRecord()
    second.resume(saved | dict(machines=['another']))
    second.begin()
    now[0] += 30
    again = second.state(images=8, batch_size=2)
    assert again['minutes'] == 2.0
    assert again['machines'] == ['another', *saved['machines']]
    # Checkpoints from before have no record.
    third = TrainingRecord()
    third.resume({})
    assert third.state(8, 2)['minutes'] == 0


def test_the_commit_is_that_of_the_checkout():
    found = commit()
    assert found is None or len(found.rstrip('+')) == 12
