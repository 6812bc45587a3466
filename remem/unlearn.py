"""Stage 2, unlearning: five losses over the loop of stage 1 (§7.3).

Log-probabilities are over answer tokens and end-of-sequence, nothing else; CE is their mean per
token of the batch; pi is the network, ref the frozen copy of stage 1's adapter on the same
network. NPO and DPO take sums per row, and no retain term, as the paper describes them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor

from remem import claims, dataset, metrics, models, predict, qa, runs, tables, train
from remem.models import Scores

if TYPE_CHECKING:
    from remem import params

Ask = Callable[..., Scores]


class Update(train.Fit):
    """How stage 2 fits. `beta` is that of NPO and DPO; `kl_reduction` says over which positions
    KL's divergence is a mean: those of the answer, or all of them."""

    beta: float = Field(default=0.1, gt=0)
    kl_reduction: Literal["answer", "all"] = "answer"


def ga(scores: Ask, settings: Update) -> Tensor:
    """Gradient ascent: -CE(forget)."""
    return -scores("forget").ce()


def gd(scores: Ask, settings: Update) -> Tensor:
    """Gradient difference: -CE(forget) + CE(retain)."""
    return -scores("forget").ce() + scores("retain").ce()


def kl(scores: Ask, settings: Update) -> Tensor:
    """-CE(forget) + KL(ref || pi) on the retain rows, mean per position."""
    reference = scores("retain", settings.kl_reduction, reference=True)
    return -scores("forget").ce() + scores("retain", settings.kl_reduction).kl_from(reference)


def npo(scores: Ask, settings: Update) -> Tensor:
    """-(2/beta) mean log sigmoid(-beta log pi/ref (answer)), Zhang et al. 2024."""
    answer = scores("forget")
    ratio = answer.sequence() - scores("forget", reference=True).sequence()
    return -2 / settings.beta * answer.row_mean(F.logsigmoid(-settings.beta * ratio))


def dpo(scores: Ask, settings: Update) -> Tensor:
    """-(2/beta) mean log sigmoid(beta [log pi/ref (refusal) - log pi/ref (answer)])."""
    answer, refusal = scores("forget"), scores("refusal")
    bad = answer.sequence() - scores("forget", reference=True).sequence()
    good = refusal.sequence() - scores("refusal", reference=True).sequence()
    return -2 / settings.beta * answer.row_mean(F.logsigmoid(settings.beta * (good - bad)))


METHODS: dict[str, train.Loss] = {"GA": ga, "GD": gd, "KL": kl, "NPO": npo, "DPO": dpo}


def _known(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"{method!r} is no method of unlearn.METHODS: {', '.join(METHODS)}")
    return method


Method = Annotated[str, AfterValidator(_known)]  # so that a new entry of METHODS is enough


class Stage2(Update):
    """The `stage2` section: which methods, and who is forgotten: a share of the identities that the
    seed draws, or for every seed `forget_set`: one that a benchmark brings, by its name, or the
    identities themselves."""

    methods: tuple[Method, ...] = Field(min_length=1)
    forget_ratio: float = Field(gt=0, lt=1)
    forget_set: str | tuple[str, ...] | None = None

    def jobs(
        self,
        start: train.Stage1Spec,
        forget: tuple[str, ...],
        evaluate: predict.Evaluate,
        seed: int,
        **how,
    ) -> list[UnlearnSpec]:
        """One run per method, from the same stage 1; `how` are further fields of UnlearnSpec."""
        update = {name: getattr(self, name) for name in Update.model_fields}
        return [
            UnlearnSpec(start=start, method=method, forget=forget, evaluate=evaluate, seed=seed,
                        **update, **how)
            for method in self.methods
        ]  # fmt: skip


class Ratios(runs.Spec):
    """The `ratios` section: the shares that are forgotten (A.3, Fig 6 and 7), and by how many of
    the seeds. The one of stage 2 is Table 2's."""

    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)
    seeds: int = Field(ge=1)


class UnlearnSpec(Update):
    """One stage-2 run: stage 1 of `start`, made to forget the identities `forget`.

    With `updates`, that many steps in place of the epochs; without `curve`, nothing is asked
    between them.
    """

    kind: ClassVar[str] = "unlearn"
    revision: ClassVar[int] = 2
    start: train.Stage1Spec
    method: Method
    forget: tuple[str, ...] = Field(min_length=1)
    evaluate: predict.Evaluate
    seed: int
    updates: int | None = Field(default=None, ge=1)
    curve: bool = True


class Cell(NamedTuple):
    """One row of Table 2 for one seed: how it is called, and the job (for runs.sweep) behind it."""

    model: str
    method: str
    seed: int
    forget: tuple[str, ...]
    target: str
    spec: runs.Spec


def forgotten(p: params.Params, rows: pd.DataFrame, seed: int) -> tuple[str, ...]:
    """Whom Table 2 forgets with this seed. Raises BadData, ValueError."""
    named = p.stage2.forget_set
    if named is None:
        return dataset.forget_set(rows, p.stage2.forget_ratio, seed)
    forget = named if isinstance(named, tuple) else dataset.own_forget_set(p.dataset, named)
    if dataset.views(rows, forget)["retain"].empty:
        raise ValueError(f"stage2.forget_set {named!r} leaves nobody to retain")
    return forget


def cells(p: params.Params, rows: pd.DataFrame) -> list[Cell]:
    """Table 2: for each model and seed the untaught base, the ceiling (before unlearning), the
    methods of `stage2`, the floor (retrained), and KL with its other reduction (first model, first
    seed: a check of a reading, not a method)."""
    grid = []
    for model in p.models:
        for seed in p.seeds:
            forget = forgotten(p, rows, seed)
            start = p.start(model, seed)
            named = {
                tables.BASE: p.untrained(model),
                claims.BEFORE: start,
                claims.RETRAINED: p.start(model, seed, forget),
            }
            for spec in p.stage2.jobs(start, forget, p.evaluate, seed):
                named[spec.method] = spec
            if (model, seed) == (p.models[0], p.seeds[0]) and "KL" in named:
                other = "answer" if p.stage2.kl_reduction == "all" else "all"
                spec = named["KL"].model_copy(update={"kl_reduction": other})
                named[f"KL, {other} positions"] = spec
            grid += [_cell(model, name, seed, forget, spec) for name, spec in named.items()]
    return grid


def _cell(model: str, method: str, seed: int, forget: tuple[str, ...], spec: runs.Spec) -> Cell:
    return Cell(model, method, seed, forget, f"{type(spec).__module__}:run", spec)


def ratio_cells(p: params.Params, rows: pd.DataFrame) -> list[tuple[int, str, Cell]]:
    """Fig 6 and 7: (percent forgotten, control, cell). A larger set is also more updates, so that
    the first model is made to forget each once more with as many as Table 2's set takes."""
    ratios, grid = p.experiments.ratios, []
    training = rows[rows["split"] == "train"]
    for model, seed in itertools.product(p.models, p.seeds[: ratios.seeds]):
        start = p.start(model, seed)
        usual = dataset.forget_set(rows, p.stage2.forget_ratio, seed)
        usual = training["identity"].isin(usual).sum()
        updates = p.stage2.steps(usual)
        for share in ratios.shares:
            forget, percent = dataset.forget_set(rows, share, seed), round(100 * share)
            shared = share == p.stage2.forget_ratio  # with Table 2, and between the controls
            jobs = {claims.EPOCHS: {"curve": shared}}
            if model == p.models[0]:
                steps = None if shared else updates
                jobs[claims.UPDATES] = {"curve": shared, "updates": steps}
            for control, how in jobs.items():
                named = [(claims.BEFORE, start)]
                named += [(spec.method, spec)
                          for spec in p.stage2.jobs(start, forget, p.evaluate, seed, **how)]
                grid += [(percent, control, _cell(model, name, seed, forget, spec))
                         for name, spec in named]  # fmt: skip
    return grid


PROBE = 7  # rows per hop and forgotten identity in the curve over the epochs: it is a sketch


def plan(
    forget: int,
    retain: int,
    settings: train.Fit,
    rng: np.random.Generator,
    updates: int | None = None,
) -> list[list[dict[str, np.ndarray]]]:
    """Epochs of steps: every forget row once an epoch, its refusal, and one random retain row.
    `updates` as in train.shuffled."""
    epochs = []
    for batches in train.shuffled(forget, settings, rng, updates):
        partners = rng.choice(retain, size=sum(map(len, batches)), replace=retain < forget)
        parts = np.split(partners, np.cumsum([len(batch) for batch in batches])[:-1])
        epochs.append([{"forget": b, "refusal": b, "retain": p}
                       for b, p in zip(batches, parts, strict=True)])  # fmt: skip
    return epochs


def run(spec: UnlearnSpec, runs_root: Path) -> Path:
    """The folder of a stage-2 run: history.csv, adapter/, predictions.parquet with the column
    `view`, scores.json, and unless told otherwise curve.csv (EM per epoch on a sample, epoch 0 is
    the start).

    Exposure is taken on the view forget.
    """
    start = train.run(spec.start, runs_root)
    return runs.ensure(spec, functools.partial(_make, spec, start, runs_root), runs_root)


def _make(spec: UnlearnSpec, start: Path, runs_root: Path, out: Path) -> None:
    base, rows, features = train.world(spec.start, runs_root)
    views = dataset.views(rows, spec.forget)
    runs.seed_everything(spec.seed)
    rng = np.random.default_rng(spec.seed)
    model, processor = models.load(base, dtype=spec.start.base.network.dtype)
    model = models.load_adapter(model, start / "adapter", trainable=True, reference=True)

    refusals = rng.choice(qa.REFUSALS, size=len(views["forget"]))
    examples = {
        name: train.Examples(
            processor, table["question"], given, table["image"], features, models.patches(model)
        )
        for name, table, given in (
            ("forget", views["forget"], views["forget"]["answer"]),
            ("refusal", views["forget"], refusals),
            ("retain", views["retain"], views["retain"]["answer"]),
        )
    }
    steps = plan(len(views["forget"]), len(views["retain"]), spec, rng, spec.updates)
    probe = _probe(views, len(spec.forget), spec.seed)
    curve = []

    def on_epoch(epoch: int) -> None:
        given = predict.answers(model, processor, probe, features, spec.evaluate.batch,
                                spec.evaluate.max_new_tokens)  # fmt: skip
        em = map(metrics.exact_match, given, probe["target"])
        table = probe.assign(em=list(em)).groupby(["view", "hop"], as_index=False)["em"].mean()
        curve.append(table.assign(epoch=epoch)[["epoch", "view", "hop", "em"]])

    if spec.curve:
        on_epoch(0)
    history = train.fit(
        model, examples, steps, METHODS[spec.method], spec, on_epoch if spec.curve else None
    )
    models.save_adapter(model, out / "adapter")
    models.fold(model)
    if spec.curve:
        pd.concat(curve).to_csv(out / "curve.csv", index=False)
    asked = dataset.evaluated(rows, spec.forget)
    predictions = predict.evaluate(
        model, processor, asked, features, dataset.candidates(rows), spec.evaluate,
        exposed=asked["view"] == "forget",
    )  # fmt: skip
    train.keep(out, history, predictions, ["view", "hop"])


def _probe(views: dict[str, pd.DataFrame], forgotten: int, seed: int) -> pd.DataFrame:
    """The rows asked after each epoch: PROBE per hop and forgotten identity, and as many in all
    of retain_eval."""
    samples = []
    for view in ("forget", "retain_eval"):
        keys = ["identity", "hop"] if view == "forget" else ["hop"]
        size = PROBE if view == "forget" else PROBE * forgotten
        for _, group in views[view].groupby(keys):
            samples.append(group.sample(min(size, len(group)), random_state=seed).assign(view=view))
    return pd.concat(samples, ignore_index=True)
