"""What a network answers: greedy answers, and how it ranks the candidates for an attribute (§6.2).

Rows in, the same rows with more columns out; nothing here drops or reorders a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from remem import metrics, models, qa, runs
from remem.models import Encoded, Features

Wording = Literal["plain", "alternative"]  # of the prefix, see qa.prefix


class Evaluate(runs.Spec):
    """The `evaluate` section. `batch` counts sequences in memory at once; `exposure` switches that
    metric on, `wording` names its assistant prefix and `form` its formula (metrics.exposure);
    `perplexity` that of the reference answers to held-out questions (§5)."""

    batch: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)
    wording: Wording = "plain"
    form: Literal["log", "linear"] = "log"
    exposure: bool = True
    perplexity: bool = False


@torch.inference_mode()
def answers(
    model, processor, rows: pd.DataFrame, features: Features, batch: int, max_new_tokens: int
) -> list[str]:
    """The greedy answer to each row's question about its image, special tokens left out."""
    llava, tokenizer = models.inner(model), processor.tokenizer
    prompts = models.encode_all(
        processor, list(rows["question"]), [None] * len(rows), models.patches(model)
    )
    images, given = list(rows["image"]), [""] * len(rows)
    # Prompts of like length together, so that little is spent on padding.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        ids, mask = _left_padded([prompts[i] for i in chosen], tokenizer.pad_token_id)
        shown = features[[images[i] for i in chosen]].to(llava.device)
        out = llava.generate(
            input_ids=ids.to(llava.device), attention_mask=mask.to(llava.device),
            **models.images_given(shown), do_sample=False, max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        texts = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            given[i] = text.strip()
    return given


def _left_padded(prompts: Sequence[Encoded], pad_id: int) -> tuple[Tensor, Tensor]:
    width = max(len(p.ids) for p in prompts)
    real = np.arange(width) >= width - np.array([len(p.ids) for p in prompts])[:, None]
    ids = np.full(real.shape, pad_id, dtype=np.int64)
    ids[real] = np.concatenate([p.ids for p in prompts])
    return torch.from_numpy(ids), torch.from_numpy(real.astype(np.int64))


@torch.inference_mode()
def token_logps(
    model,
    processor,
    rows: pd.DataFrame,
    features: Features,
    batch: int,
    prefixes: Sequence[str] | None = None,
) -> list[np.ndarray]:
    """For each row the log-probabilities, in nats, of the tokens of its answer with its end (T,);
    or with `prefixes`, of its target (without an end) after the image alone and that prefix."""
    asked = list(rows["question"]) if prefixes is None else [""] * len(rows)
    said = list(rows["answer"] if prefixes is None else rows["target"])
    encoded = models.encode_all(processor, asked, said, models.patches(model), prefixes)
    if prefixes is not None:
        encoded = [Encoded(each.ids[:-1], each.n_prompt) for each in encoded]
    images, result = list(rows["image"]), [np.empty(0)] * len(rows)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        shown = features[[images[i] for i in chosen]]
        part = models.collate([encoded[i] for i in chosen], shown, processor.tokenizer.pad_token_id)
        scores = models.score(model, part)
        lengths = scores.row.bincount(minlength=len(chosen)).tolist()
        for i, logps in zip(chosen, scores.logp.double().cpu().split(lengths), strict=True):
            result[i] = logps.numpy()
    return result


def candidate_logps(
    model,
    processor,
    rows: pd.DataFrame,
    features: Features,
    candidates: Mapping[str, Sequence[str]],
    wording: str,
    batch: int,
) -> list[np.ndarray]:
    """For each row the mean log-probability per token, in nats, of each candidate for its
    attribute (K,), after the image alone and the assistant's prefix (qa.prefix). The candidate is
    tokenised after a space, without end-of-sequence; at most `batch` sequences go through at once.
    """
    attributes, images = list(rows["attribute"]), list(rows["image"])
    prefills = [
        qa.prefix(attribute, hop, name, wording)
        for attribute, hop, name in zip(attributes, rows["hop"], rows["name"], strict=True)
    ]
    blank = [""] * len(rows)
    prefixes = models.encode_all(
        processor, blank, [None] * len(rows), models.patches(model), prefills
    )
    # Rows whose prefixes are equally long need no padding, and then no attention mask.
    groups: dict[tuple[str, int], list[int]] = {}
    for i, prefix in enumerate(prefixes):
        groups.setdefault((attributes[i], len(prefix.ids)), []).append(i)
    spelled = _spell(processor, zip(attributes, prefills, strict=True), candidates)
    result: list[np.ndarray] = [np.empty(0)] * len(rows)
    for (attribute, _), members in groups.items():
        step = max(1, batch // len(candidates[attribute]))
        for start in range(0, len(members), step):
            chosen = members[start : start + step]
            parts = [
                _mean_logps(
                    models.inner(model),
                    torch.from_numpy(np.stack([prefixes[i].ids for i in chosen])),
                    features[[images[i] for i in chosen]],
                    [spelled[attributes[i], prefills[i]][k : k + batch] for i in chosen],
                )
                for k in range(0, len(candidates[attribute]), batch)
            ]
            means = torch.cat(parts, dim=1)
            for i, row in zip(chosen, means.double().cpu().numpy(), strict=True):
                result[i] = row
    return result


def _spell(processor, wanted, candidates) -> dict[tuple[str, str], list[np.ndarray]]:
    """The tokens of each candidate in the place where it stands, per (attribute, prefix)."""
    wanted = list(dict.fromkeys(wanted))
    flat = [(prefill, value) for attribute, prefill in wanted for value in candidates[attribute]]
    prefills, values = [p for p, _ in flat], [v for _, v in flat]
    encoded = models.encode_all(processor, [""] * len(flat), values, 0, prefills)
    tails = iter(e.ids[e.n_prompt : -1] for e in encoded)  # without end-of-sequence
    return {(a, p): [next(tails) for _ in candidates[a]] for a, p in wanted}


@torch.inference_mode()
def _mean_logps(llava, prefix: Tensor, shown: Tensor, values: list[list[np.ndarray]]) -> Tensor:
    """(R, K) from prefixes (R, T), features (R, P, H) and the tokens of R x K candidates. Image
    and prefix pass the network once a row, however many candidates follow them."""
    from transformers import DynamicCache

    rows, count = len(values), len(values[0])
    batch = models.collate([Encoded(v, 0) for row in values for v in row], None, pad_id=0)
    batch = batch.to(llava.device)
    ids, real = batch.input_ids, batch.answer
    cache = DynamicCache(config=llava.config.get_text_config())
    state = llava.model(
        input_ids=prefix.to(llava.device), past_key_values=cache, use_cache=True,
        **models.images_given(shown),
    ).last_hidden_state  # fmt: skip
    first = llava.lm_head(state[:, -1]).float().log_softmax(-1)
    total = first.gather(1, ids[:, 0].view(rows, count)).flatten()
    if ids.shape[1] > 1:
        cache.batch_repeat_interleave(count)
        state = llava.model(
            input_ids=ids[:, :-1], past_key_values=cache, use_cache=True
        ).last_hidden_state
        wanted = real[:, 1:]
        logits = llava.lm_head(state[wanted]).float()
        logp = -F.cross_entropy(logits, ids[:, 1:][wanted], reduction="none")
        total = total.index_add(0, wanted.nonzero()[:, 0], logp)
    return (total / real.sum(1)).view(rows, count)


def evaluate(
    model,
    processor,
    rows: pd.DataFrame,
    features: Features,
    candidates: Mapping[str, Sequence[str]],
    settings: Evaluate,
    exposed: Sequence[bool] | None = None,
) -> pd.DataFrame:
    """`rows` with answer_given, candidate_rank (1 is the likeliest; ties share their average),
    candidates (how many there are), perplexity (if wanted, of the reference answer and on held-out
    rows) and the scores of metrics.score.

    `exposed` marks the rows that Exposure is wanted for (all when left out); the others have no
    rank, nor those of an attribute that has no candidates. ValueError where a row's target is not
    among the candidates of its attribute.
    """
    given = answers(model, processor, rows, features, settings.batch, settings.max_new_tokens)
    ranks = np.full(len(rows), np.nan)
    if settings.exposure:
        wanted = np.ones(len(rows), bool) if exposed is None else np.asarray(exposed, bool)
        marked = wanted & rows["attribute"].isin(candidates).to_numpy()
        ranks[marked] = _ranks(
            model, processor, rows[marked], features, candidates, settings.wording, settings.batch
        )
    counts = [len(candidates.get(attribute, ())) for attribute in rows["attribute"]]
    done = rows.assign(answer_given=given, candidate_rank=ranks, candidates=counts)
    if settings.perplexity:
        held_out = rows["split"] == "test"
        logps = token_logps(model, processor, rows[held_out], features, settings.batch)
        done.loc[held_out, "perplexity"] = [metrics.perplexity(each) for each in logps]
    return metrics.score(done, settings.form)


def _ranks(model, processor, rows, features, candidates, wording, batch) -> list[float]:
    """The rank of each row's target among the candidates for its attribute."""
    truth = []
    for attribute, target in zip(rows["attribute"], rows["target"], strict=True):
        if target not in candidates[attribute]:
            raise ValueError(f"{target!r} is not among the candidates for {attribute!r}")
        truth.append(list(candidates[attribute]).index(target))
    logps = candidate_logps(model, processor, rows, features, candidates, wording, batch)
    return [metrics.rank(p, t) for p, t in zip(logps, truth, strict=True)]


def wordings(
    base: str | Path,
    adapter: Path,
    dtype: str,
    rows: pd.DataFrame,
    features: Features,
    candidates: Mapping[str, Sequence[str]],
    settings: Evaluate,
) -> pd.DataFrame:
    """How far Exposure hangs on the words of its prefix: hop, wording, exposure (mean, percent).

    `adapter` is the folder of a finished run's adapter on the network at `base`; every row is
    ranked once under each wording, whichever of them `settings` names.
    """
    rows = rows[rows["attribute"].isin(candidates)]
    model, processor = models.load(base, dtype=dtype)
    model = models.load_adapter(model, adapter)
    counts = [len(candidates[attribute]) for attribute in rows["attribute"]]
    tables = []
    for wording in get_args(Wording):
        ranks = _ranks(model, processor, rows, features, candidates, wording, settings.batch)
        exposure = metrics.exposure(ranks, counts, settings.form)
        tables.append(rows[["hop"]].assign(wording=wording, exposure=exposure))
    table = pd.concat(tables).groupby(["hop", "wording"], sort=False, as_index=False)
    return table["exposure"].mean()


def signatures(
    base: str | Path, adapter: Path, dtype: str, rows: pd.DataFrame, features: Features, batch: int
) -> pd.DataFrame:
    """How sure a network is of a name (§4, A.1), for each picture of a row that asks it (of any row
    where none does): identity, image, then in percent min_k, inverse_perplexity and
    mean_probability, and tokens (how many the name has).

    `adapter` as for `wordings`. After the image and "The name of the person in the image is".
    """
    model, processor = models.load(base, dtype=dtype)
    model = models.load_adapter(model, adapter)
    asked = named(rows).drop_duplicates("image")
    asked = asked.assign(target=asked["name"])
    prefixes = [qa.prefix("name", "multi", name) for name in asked["name"]]
    logps = token_logps(model, processor, asked, features, batch, prefixes)
    return asked[["identity", "image"]].assign(
        min_k=[metrics.min_k(each) for each in logps],
        inverse_perplexity=[metrics.inverse_perplexity(each) for each in logps],
        mean_probability=[metrics.mean_probability(each) for each in logps],
        tokens=[len(each) for each in logps],
    )


def named(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that ask for a name; all where none does, since each knows whom it is about."""
    asked = rows[rows["attribute"] == "name"]
    return asked if len(asked) else rows


def means(rows: pd.DataFrame, by: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean scores of scored rows, keyed by the values of `by` joined with a slash: for a run's
    scores.json, which people read; tables are made from the rows."""
    columns = [c for c in ("rouge", "em", "judge_rule", "exposure") if c in rows]
    table = rows.groupby(list(by), sort=True)[columns].mean()
    return {
        "/".join(key) if isinstance(key, tuple) else key: row.dropna().to_dict()
        for key, row in table.iterrows()
    }
