"""What commands write into pages stays between its marks."""

import pytest

from rs4d.analysis.marked_page import Marks

MARKS = Marks('<!-- begin -->', '<!-- end -->')
PAGE = 'before\n<!-- begin -->\nold\n<!-- end -->\nafter\n'


def test_the_rest_of_the_page_stays() -> None:
    assert MARKS.split(PAGE) == ('before\n', '\nold\n', '\nafter\n')
    filled = 'before\n<!-- begin -->\n\nnew\n\n<!-- end -->\nafter\n'
    assert MARKS.fill(PAGE, 'new') == filled
    assert MARKS.fill(filled, 'new') == filled


@pytest.mark.parametrize(
    'page',
    [
        '',
        'before\n<!-- begin -->\nold',
        'old\n<!-- end -->',
        '<!-- end -->\nold\n<!-- begin -->',
        PAGE + PAGE,
        '<!-- begin -->\n' + PAGE,
        PAGE + '<!-- end -->',
    ],
)
def test_a_mark_that_is_missing_or_there_twice(page: str) -> None:
    assert MARKS.split(page) is None
    assert MARKS.fill(page, 'new') is None
