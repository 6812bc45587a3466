"""The digest of a method changes with what its loss does, and with nothing else."""

import importlib
import os
import re
import subprocess
import sys
import textwrap

import pytest

from remem import paths, runs
from remem.config.sections import Hub, Optimiser
from remem.data.dataset import SyntheticData
from remem.training.base_model import BaseRun
from remem.training.method_source import BadMethod, source_digest
from remem.training.methods import METHODS, NPO, Method
from remem.training.stage1 import Stage1Run
from remem.training.stage2 import Stage2Run

HELPERS = """
    RATE = 3.0

    def quarter(x):
        return x / 4
"""

SOURCE = '''
    from functools import lru_cache, partial, wraps
    from itertools import chain

    import helpers
    from helpers import quarter
    from remem.training.methods import Method

    FACTOR = 2.0
    WEIGHTS = {"a": [1, 2]}
    ROWS = "forget"

    def half(x):
        return deeper(x) / 2

    def deeper(x):
        return x

    def power(x, exponent):
        return x**exponent

    square = partial(power, exponent=2)

    def doubled(function):
        @wraps(function)
        def wrapper(self, scores):
            return 2 * function(self, scores)

        return wrapper

    @lru_cache
    def constant():
        return 5

    class Helper:
        offset = 7

        def add(self, x):
            return x + self.offset

    class Mixin:
        """What several share."""

        _margin = 0.5

        def shared(self, x):
            return x + self._margin

    class Parent(Mixin, Method):
        beta: float = 0.1

        def loss(self, scores):
            return self.shared(scores(ROWS).ce())

    def made(scale):
        class Inside(Parent):
            """A method."""

            gamma: float = 0.0

            @doubled
            def loss(self, scores, power: float = FACTOR) -> "Tensor":
                """Its loss."""
                # a comment
                found = super().loss(scores) * scale + constant() + helpers.RATE
                found = sum(x for x in chain([square(half(found)), WEIGHTS["a"][0]]))
                return Helper().add(quarter(found)) * power + self.twice

            @property
            def twice(self):
                return 2 * self.gamma

        return Inside

    Mine = made(11)
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that writes a source text to a file, imports it afresh, and gives the module."""
    monkeypatch.syspath_prepend(tmp_path)
    # its time stamps count in seconds, in which a test writes a file several times
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported(text=SOURCE, helpers=HELPERS):
        for name, content in (("helpers", helpers), ("own_methods", text)):
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(content))
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return importlib.import_module("own_methods")

    return imported


def digest_of(module):
    return source_digest(module.Mine, Method)


@pytest.fixture
def changes(load):
    """Whether a method has another digest once `old` is `new` in its file, or in its helpers'."""

    def compare(old, new):
        assert (old in SOURCE) != (old in HELPERS)
        before = digest_of(load())
        after = digest_of(load(SOURCE.replace(old, new), HELPERS.replace(old, new)))
        return before != after

    return compare


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* scale + constant()", "* scale - constant()"),  # the loss
        ("FACTOR = 2.0", "FACTOR = 3.0"),  # a constant, the default of an argument
        ('ROWS = "forget"', 'ROWS = "retain"'),  # one that only the parent's loss names
        ('{"a": [1, 2]}', '{"a": [1, 3]}'),  # one that holds others
        ("deeper(x) / 2", "deeper(x) / 3"),  # a function that the loss calls
        (
            "        return x\n\n    def power",
            "        return -x\n\n    def power",
        ),  # one behind it
        ("exponent=2", "exponent=3"),  # what a partial is given
        ("x**exponent", "x * exponent"),  # the function of a partial
        ("return 2 * function", "return 3 * function"),  # a decorator, though functools.wraps it
        ("return 5", "return 6"),  # a function behind a cache
        ("offset = 7", "offset = 8"),  # an attribute of another class
        ("return x + self.offset", "return x - self.offset"),  # a function of one
        ("_margin = 0.5", "_margin = 0.6"),  # an attribute of a base class
        ("x + self._margin", "x - self._margin"),  # a function of one
        ("self.shared(scores(ROWS).ce())", "scores(ROWS).ce()"),  # a base class that is a method
        ("return 2 * self.gamma", "return 3 * self.gamma"),  # a property
        ("made(11)", "made(12)"),  # what the class encloses
        ("RATE = 3.0", "RATE = 4.0"),  # a constant of another module
        ("return x / 4", "return x / 5"),  # a function of one
    ],
)
def test_what_the_loss_does_is_in_the_digest(changes, old, new):
    assert changes(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another\n"),
        ('"""Its loss."""', '"""Another\n\n                docstring."""'),
        ('                """Its loss."""\n', ""),
        ('"""A method."""', ""),
        ("power: float = FACTOR", "power=FACTOR"),
        (' -> "Tensor"', ""),
        ("x**exponent", "(\n            x ** exponent\n        )"),
        ('"forget"', "'forget'"),
        ("def half(x):", "UNUSED = 1\n\n    def half(x):"),  # what the loss does not use
        ("beta: float = 0.1", "beta: float = 0.2"),  # a run names its value anyway
        ("RATE = 3.0", "OTHER = 1\n    RATE = 3.0"),
    ],
)
def test_words_and_layout_are_not_in_the_digest(changes, old, new):
    assert not changes(old, new)


def test_the_code_above_moves_nothing(load):
    assert digest_of(load()) == digest_of(load("    # one line\n    OTHER = 1\n" + SOURCE))


def test_a_constant_that_is_set_anew_in_a_notebook_counts_at_once(load):
    module = load()
    before = digest_of(module)
    module.FACTOR_UNUSED = 3
    assert digest_of(module) == before
    module.ROWS = "retain"
    assert digest_of(module) != before
    module.ROWS = "forget"
    assert digest_of(module) == before


def test_a_file_edited_after_it_was_loaded_is_told_and_not_believed(load, tmp_path):
    module = load()
    file = tmp_path / "own_methods.py"
    text, before = file.read_text(), digest_of(module)
    file.write_text("# a line more\n" + text.replace("# a comment", "# no comment"))
    assert digest_of(module) == before  # what runs still stands there
    file.write_text(text.replace("* scale + constant()", "* scale - constant()"))
    with pytest.raises(BadMethod, match=r"own_methods.py was edited after it was loaded; restart"):
        digest_of(module)
    assert digest_of(importlib.reload(module)) != before
    file.unlink()
    with pytest.raises(BadMethod, match=r"there is no file .*own_methods.py"):
        digest_of(module)


NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
CELL = '''
class Mine(Method):
    beta: float = 0.1

    def loss(self, scores):
        # %s
        return helper(scores("forget").ce()) * %s

print(Mine().described()["source"])
'''
for cell in (
    "from remem.training.methods import Method",
    "def helper(x): return x / 2",
    CELL % ("a comment", 1),
    CELL % ("another", 1),
    CELL % ("another", 2),
    "def helper(x): return x / 3",
    "print(Mine().described()['source'])",
    "import asyncio; await asyncio.sleep(0)" + CELL % ("a cell that waits", 2),
):
    shell.run_cell(cell).raise_error()
assert "%%time" in str(shell.run_cell("%%time" + CELL % ("", 1)).error_in_exec)
"""


def test_the_cells_of_a_notebook_are_read_as_they_were_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        capture_output=True,
        text=True,
        cwd=paths.ROOT,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, comment, edited, helper, waiting = [
        line for line in done.stdout.splitlines() if re.fullmatch("[0-9a-f]{12}", line)
    ]
    assert first == comment and helper == waiting
    assert len({first, edited, helper}) == 3


def test_a_source_that_nobody_can_read_is_told():
    space = {"Method": Method}
    exec("class Typed(Method):\n    def loss(self, scores):\n        return 1", space)
    with pytest.raises(
        BadMethod, match=r"Typed .Typed.loss. cannot be read.*define it in a file, or in a notebook"
    ):
        source_digest(space["Typed"], Method)


def test_lambdas_are_read(load):
    text = """
    from remem.training.methods import Method

    margin = lambda x: x + 1

    class Mine(Method):
        loss = lambda self, scores: margin(scores("forget").ce())
    """
    digests = [
        digest_of(load(text.replace(old, new)))
        for old, new in (("", ""), ("x + 1", "x + 2"), (".ce()", ".sequence()"), ("(x + 1)", "x+1"))
    ]
    assert len(set(digests)) == 3 and digests[0] == digests[3]


VALUES = {
    "a tensor": "import torch\nUSED = torch.tensor([@])",
    "an array": "import numpy\nUSED = numpy.array([@])",
    "a set": "USED = {'a', @}",
    "bytes": "USED = bytes([@])",
    "an object of a library": "from fractions import Fraction\nUSED = Fraction(@, 7)",
    "an object of one's own": "class Own:\n    pass\nUSED = Own()\nUSED.inside = [@]",
    "the class of an object": "class Own:\n    def used(self):\n        return @\nUSED = Own()",
    "a method of an object": "class Own:\n    def __init__(self, k):\n        self.k = k\n"
    "    def used(self):\n        return self.k\nUSED = Own(@).used",
    "a network": "import torch\nUSED = torch.nn.Linear(1, 1)\n"
    "torch.nn.init.constant_(USED.weight, @)\ntorch.nn.init.zeros_(USED.bias)",
    "functions in a dictionary": "USED = {'f': lambda x: x + @}",
    "an enumeration": "import enum\nclass USED(enum.Enum):\n    A = @",
    "what a name stands for": "from math import log@ as USED",
}


@pytest.mark.parametrize("value", VALUES)
def test_a_value_of_any_kind_counts(load, value):
    text = f"from remem.training.methods import Method\n{VALUES[value]}\n" + textwrap.dedent("""
    class Mine(Method):
        def loss(self, scores):
            return USED, scores("forget").ce()
    """)
    numbers = ("2", "10") if "log@" in text else ("3", "4")
    one, other = (digest_of(load(text.replace("@", number))) for number in numbers)
    assert one == digest_of(load(text.replace("@", numbers[0]))) != other


@pytest.mark.parametrize("imported", ["import helpers", "from helpers import quarter"])
def test_what_the_loss_imports_itself_counts(load, imported):
    text = f"""
    from remem.training.methods import Method

    class Mine(Method):
        def loss(self, scores):
            from torch.nn.functional import logsigmoid
            {imported}
            return {"helpers." if imported == "import helpers" else ""}quarter(logsigmoid(scores))
    """
    assert digest_of(load(text)) != digest_of(load(text, HELPERS.replace("x / 4", "x / 5")))


def test_a_module_inside_a_package_counts(load, tmp_path):
    text = """
    import package.inner
    from remem.training.methods import Method

    class Mine(Method):
        def loss(self, scores):
            return package.inner.half(scores)

        def other(self):
            return package.inner.third(1)
    """
    digests = []
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for half, third in ((2, 3), (4, 3), (2, 5)):
        for name in ("package", "package.inner"):
            sys.modules.pop(name, None)
        (tmp_path / "package" / "inner.py").write_text(
            f"def half(x): return x / {half}\ndef third(x): return x / {third}\n"
        )
        digests.append(digest_of(load(text)))
    assert len(set(digests)) == 3


def test_a_value_that_cannot_be_told_from_others_is_refused(load):
    text = """
    from remem.training.methods import Method

    LOG = open(__file__)

    class Mine(Method):
        def loss(self, scores):
            return LOG, scores("forget").ce()
    """
    with pytest.raises(BadMethod, match=r"Mine uses LOG, a TextIOWrapper, which cannot stand in"):
        digest_of(load(text))


def test_two_helpers_of_one_name_both_count(load):
    text = """
    from remem.training.methods import Method

    def made(k):
        def helper(x):
            return x + k
        return helper

    class Parent(Method):
        def loss(self, scores, helper=made(1)):
            return helper(scores("forget").ce())

    class Mine(Parent):
        def loss(self, scores, helper=made(2)):
            return helper(super().loss(scores))
    """
    assert digest_of(load(text)) != digest_of(load(text.replace("made(1)", "made(3)")))
    assert digest_of(load(text)) != digest_of(load(text.replace("made(2)", "made(3)")))


def test_the_five_have_sources_of_their_own():
    assert len({source_digest(kind, Method) for kind in METHODS.values()}) == len(METHODS)


# ---------------------------------------------------------------- and so in the name of a run


def run_of(method):
    network = Hub(hub="somebody/llava")
    optimiser = Optimiser(
        epochs=1,
        batch=16,
        micro_batch=16,
        lr=2e-3,
        schedule="cosine",
        warmup=0.1,
        weight_decay=0.0,
        clip=1.0,
    )
    start = Stage1Run(
        base=BaseRun(network=network, tower=None),
        data=SyntheticData(),
        rank=4,
        alpha=8,
        optimiser=optimiser,
        seed=1,
    )
    return Stage2Run(start=start, method=method, forget=("p00",), optimiser=optimiser, seed=1)


def test_an_edited_loss_is_another_run_and_an_edited_comment_the_same(load):
    names = [
        runs.name(run_of(load(SOURCE.replace(old, new)).Mine()))
        for old, new in (("", ""), ("# a comment", ""), ("* scale +", "* scale -"))
    ]
    assert names[0] == names[1] != names[2]


def test_fields_and_names_are_in_the_run():
    ga = runs.name(run_of(METHODS["GA"]()))
    assert runs.name(run_of(METHODS["GA"]())) == ga
    names = [runs.name(run_of(method)) for method in (NPO(), NPO(beta=0.1), NPO(beta=0.2))]
    assert names[0] == names[1] != names[2] and ga not in names
    assert runs.plain(run_of(NPO(beta=0.2)))["method"]["fields"] == {"beta": 0.2}


def test_a_field_of_one_method_renames_no_other_run(load):
    text = """
    from remem.training.methods import Method

    class First(Method):
        beta: float = 0.1

        def loss(self, scores):
            return self.beta * scores("forget").ce()

    class Second(Method):
        def loss(self, scores):
            return scores("forget").ce()
    """
    before = load(text)
    names = [runs.name(run_of(kind())) for kind in (before.First, before.Second)]
    after = load(text.replace("beta: float = 0.1", "beta: float = 0.2\n        more: int = 1"))
    again = [runs.name(run_of(kind())) for kind in (after.First, after.Second)]
    assert names[0] != again[0] and names[1] == again[1]


def test_two_methods_that_differ_in_their_name_alone_are_two(load):
    module = load(SOURCE.replace("Mine = made(11)", "Mine = made(11)\n    Other = made(11)"))
    module.Other.__name__ = "Other"
    assert runs.name(run_of(module.Mine())) != runs.name(run_of(module.Other()))
