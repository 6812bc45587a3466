"""Unlearning methods: one small class each, whose fields are hyper-parameters and `loss` its loss.

Log-probabilities are over answer tokens and end-of-sequence, nothing else; CE is their mean per
token of the batch; pi is the network, ref the frozen copy of stage 1's adapter on the same
network. NPO and DPO take sums per row, and no retain term, as the paper describes them (§7.3).
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol, dataclass_transform

from remem import paper
from remem.synthetic.templates import REFUSAL_POOLS
from remem.training.method_source import BadMethod, is_plain, source_digest

if TYPE_CHECKING:
    from torch import Tensor

    from remem.model.scores import Scores

HYPERPARAMETER = "a hyper-parameter is a number, a text, true or false, or None"
RESERVED = (paper.BASE, paper.CHANCE, paper.BEFORE, paper.RETRAINED)  # rows of Table 2


class Ask(Protocol):
    """How a loss asks for the scores of a part of the step's rows (see Method)."""

    def __call__(
        self, rows: str, positions: Literal["answer", "all"] = "answer", reference: bool = False
    ) -> Scores:
        """The scores of `rows`: "forget", "retain" or "refusal"."""
        ...


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Method:
    """A method of unlearning. Subclass it, in a notebook or a script, and write its loss:

        class SimNPO(Method):
            beta: float = 2.5
            gamma: float = 0.0

            def loss(self, scores):
                answer = scores("forget")
                margin = -self.beta * answer.sequence() / answer.lengths() - self.gamma
                return -2 / self.beta * answer.row_mean(logsigmoid(margin))

    The annotated attributes are its hyper-parameters: numbers, texts or booleans, given by name,
    as in SimNPO(beta=1.0). `loss` gets `scores`, to be asked for the rows of one optimiser step:

        scores("forget")     the rows to forget, each with its true answer
        scores("retain")     as many rows of the people to retain, drawn anew in each step
        scores("refusal")    the forget rows, each with a refusal in place of the answer

    and gives one number, which is minimised. `reference=True` asks the frozen model before
    unlearning in place of the trained one; `positions="all"` scores every token of question and
    answer rather than the answer's alone. What the answer of `scores(...)` offers (log-probability
    per token and per row, tokens per row, means, KL) is listed at remem.model.scores.Scores.

    A step's rows go through the network in parts, and the losses of the parts are added. So a mean
    has to be taken by `row_mean`, `token_mean`, `ce` or `kl_from`, which divide by the whole step.

    Refusals are sentences that no tiny base model has read. A field `refusals: str = "base"` takes
    those that they read in pretraining instead (synthetic.templates.REFUSAL_POOLS).

    The result of a run depends on the method's name, fields and source, and is made anew when one
    of them changes; comments, docstrings and layout do not count. Raises BadMethod where a class
    has a name that is taken, or a field that cannot be a hyper-parameter.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make a frozen dataclass of the subclass, and refuse what cannot be a method."""
        super().__init_subclass__(**kwargs)
        taken = cls.__module__ != __name__ and cls.__name__ in METHODS
        if taken or cls.__name__ in RESERVED:
            raise BadMethod(
                f"a method cannot be called {cls.__name__}: the name is taken; choose another"
            )
        typed = vars(cls).get("__annotations__", {})
        for name, value in vars(cls).items():
            if is_plain(value) and not name.startswith("_") and name not in typed:
                raise BadMethod(
                    f"{cls.__name__}.{name} has no type, so it is no hyper-parameter: write "
                    f"{name}: {type(value).__name__} = {value!r}"
                )
        try:
            dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        except (TypeError, ValueError) as error:  # a list as a default, for one
            reason = str(error).partition(": use default_factory")[0]
            raise BadMethod(f"{cls.__name__}: {reason}; {HYPERPARAMETER}") from error

    def __post_init__(self) -> None:
        """Refuse a method that has no loss, or a field that is no number, text or boolean."""
        kind = type(self).__name__
        if type(self).loss is Method.loss:
            raise BadMethod(f"{kind} has no loss: define loss(self, scores) in it")
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if not is_plain(value):
                raise BadMethod(
                    f"{kind}.{field.name} is {value!r}, a {type(value).__name__}; {HYPERPARAMETER}"
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise BadMethod(f"{kind}.{field.name} is {value}, which is no finite number")
        if self.fields.get("refusals", "unseen") not in REFUSAL_POOLS:
            raise BadMethod(
                f"{kind}.refusals says which refusals a loss gets: one of "
                f"{', '.join(REFUSAL_POOLS)}, not {self.fields['refusals']!r}; give another field "
                "another name"
            )

    def loss(self, scores: Ask) -> Tensor:
        """The number to minimise, as a tensor without dimensions."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """How tables call it."""
        return type(self).__name__

    @property
    def fields(self) -> dict[str, Any]:
        """Its hyper-parameters by name."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @property
    def refusal_pool(self) -> tuple[str, ...]:
        """The sentences that `scores("refusal")` has in place of answers."""
        return REFUSAL_POOLS[self.fields.get("refusals", "unseen")]

    def described(self) -> dict[str, Any]:
        """What stands for it in the name and in the record of a run."""
        kind, sent = type(self), self.__dict__.get("_source")
        if sent and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is not kind:
            source = sent  # of a notebook or a script, whose class itself was sent to this worker
        else:
            source = source_digest(kind, Method)
            if sent not in (None, source):
                raise BadMethod(
                    f"{self.name}: {kind.__module__} was edited, and this worker process has "
                    "loaded another version of it; restart the kernel"
                )
        return {"name": self.name, "fields": self.fields, "source": source}

    def __reduce__(self) -> tuple:
        """To a worker process the digest travels along: there is no notebook to read it from."""
        return _unpickled, (type(self), self.fields, self.described()["source"])


class GA(Method):
    """Gradient ascent: -CE(forget)."""

    def loss(self, scores: Ask) -> Tensor:
        """-CE(forget)."""
        return -scores("forget").ce()


class GD(Method):
    """Gradient difference: -CE(forget) + CE(retain)."""

    def loss(self, scores: Ask) -> Tensor:
        """-CE(forget) + CE(retain)."""
        return -scores("forget").ce() + scores("retain").ce()


class KL(Method):
    """-CE(forget) + KL(ref || pi) on the retain rows; `positions` says over which it is a mean."""

    positions: Literal["answer", "all"] = "answer"

    def loss(self, scores: Ask) -> Tensor:
        """-CE(forget) + KL(ref || pi)(retain)."""
        reference = scores("retain", self.positions, reference=True)
        return -scores("forget").ce() + scores("retain", self.positions).kl_from(reference)


class DPO(Method):
    """Direct preference for a refusal over the answer (Rafailov et al. 2023).

    What a base model was brought up to say needs no teaching, and what is taught of it is said to
    everybody: `refusals` it has read ("base") and others ("unseen") are two experiments.
    """

    beta: float = 0.1
    refusals: Literal["unseen", "base"] = "unseen"

    def loss(self, scores: Ask) -> Tensor:
        """-(2/beta) mean log sigmoid(beta [log pi/ref (refusal) - log pi/ref (answer)])."""
        from torch.nn.functional import logsigmoid  # names of methods are read without torch

        answer, refusal = scores("forget"), scores("refusal")
        bad = answer.sequence() - scores("forget", reference=True).sequence()
        good = refusal.sequence() - scores("refusal", reference=True).sequence()
        return -2 / self.beta * answer.row_mean(logsigmoid(self.beta * (good - bad)))


class NPO(Method):
    """Negative preference: gradient ascent that slows on what is forgotten (Zhang et al. 2024)."""

    beta: float = 0.1

    def loss(self, scores: Ask) -> Tensor:
        """-(2/beta) mean log sigmoid(-beta log pi/ref (answer))."""
        from torch.nn.functional import logsigmoid

        answer = scores("forget")
        ratio = answer.sequence() - scores("forget", reference=True).sequence()
        return -2 / self.beta * answer.row_mean(logsigmoid(-self.beta * ratio))


def _unpickled(kind: type[Method], fields: dict[str, Any], source: str) -> Method:
    method = kind(**fields)
    object.__setattr__(method, "_source", source)  # frozen, as a dataclass
    return method


METHODS: dict[str, type[Method]] = {kind.__name__: kind for kind in (GA, GD, KL, DPO, NPO)}


def method(name: str, fields: dict[str, Any] | None = None) -> Method:
    """One of METHODS by name, with hyper-parameters. Raises BadMethod for a name or a field that
    is unknown, or a value that does not fit its field."""
    if name not in METHODS:
        place = f"stage2.hyperparameters.{name}: " if fields else ""
        raise BadMethod(f"{place}{name!r} is none of {', '.join(METHODS)}")
    kind, known = METHODS[name], {field.name: field for field in dataclasses.fields(METHODS[name])}  # type: ignore[arg-type]
    for field, value in (fields or {}).items():
        place = f"stage2.hyperparameters.{name}.{field}"
        if field not in known:
            allowed = ", ".join(known) or "none"
            raise BadMethod(f"{place}: {name} has no such hyper-parameter; it has {allowed}")
        default = known[field].default
        fits = isinstance(value, type(default)) or (
            isinstance(default, float) and type(value) is int
        )
        if not fits:
            raise BadMethod(f"{place} is {value!r}; it should be like {default!r}")
        choices = getattr(inspect.get_annotations(kind, eval_str=True)[field], "__args__", None)
        if choices and value not in choices:
            raise BadMethod(f"{place} is {value!r}; it should be one of {', '.join(choices)}")
    given = {
        field: float(value) if isinstance(known[field].default, float) else value
        for field, value in (fields or {}).items()
    }
    return kind(**given)
