import pytest

from remem import __main__
from remem.bench import command, subject


def test_the_sizes_are_those_that_can_be_made(capsys):
    assert {*command.SIZES} == {*subject.SHAPES}
    with pytest.raises(SystemExit):
        __main__.main(["bench", "--size", "70b"])
    assert "invalid choice: '70b'" in capsys.readouterr().err
