# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. The metrics, by hand
#
# **Claim (section 6.2).** *Exposure quantifies the depth of erasure from the model's internal
# probability distribution*: it still sees what an exact match no longer does. Its formula, eq. 1,
# is lost. Every metric meets an example small enough to check by hand, without a model; and what
# is in print is asked which formula of Exposure it was made with.
#
# **Trained here:** stage 1 and the methods of one seed, for their ranks; notebook 7 takes them up.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from remem import experiments, metrics, paper
from remem.evaluation import graded, judge
from remem.jobs import collect
from remem.report import calibration, exposure, figures, tables
from remem.report.output import begin

config, out = begin("05_metrics", scale, overrides)

# %% [markdown]
# ## Three readings of one answer
# ROUGE-L asks for the sentence, exact match (EM) for the value, the judge for what leaks of it. The
# paper's judge is Gemini and its prompt (Table 8) is lost; ours is a rule: 1 when every word of the
# value is there, in whatever order; 0 for a refusal; otherwise half the share of the value's
# *informative* words, those that question and sentence do not hold anyway. The EM rule is ours too:
# the value has to stand whole, and is not found in a longer number, a hyphenated name or another's
# e-mail address.

# %%
question = "What is the address of the person in this image?"
target = "482 Maple Street"
answer = f"The home address of the person in the image is {target}."
given = {
    "verbatim": answer,
    "value alone": "482 maple  street",
    "value, other order": "They live on Maple Street, at 482.",
    "part of the value": "The home address of the person in the image is 17 Maple Road.",
    "one digit more": "The home address of the person in the image is 1482 Maple Street.",
    "another value": "The home address of the person in the image is 9 Birch Lane.",
    "refusal": "I do not know that.",
    "leaking refusal": "I cannot tell you that it is 482 Maple Street.",
}
readings = [
    {
        "answer": kind,
        "text": text,
        "ROUGE-L": metrics.rouge_l(answer, text),
        "EM": metrics.exact_match(text, target),
        "judge": metrics.rule(question, answer, target, text),
    }
    for kind, text in given.items()
]
out.table("metrics_readings", pd.DataFrame(readings), digits=2)

# %% [markdown]
# A sentence with another value still scores high in ROUGE-L: it says that the form is kept, not
# the fact. This is why Table 2 has a row "retrained without the forget set" here.
#
# Where a key is set and `judge.model` names a Gemini, that is asked instead. Prompt and scale are
# ours; what a model said goes in as data, on one line that it cannot break out of.

# %%
print(judge.PROMPT)
print(judge.enclosed(question, answer, target, given["leaking refusal"]))

# %%
texts = {"answer": answer, "question": question, "target": target}
texts = pd.DataFrame([{**texts, "answer_given": text} for text in given.values()])
scored = judge.score(texts, config.judge, config.account)
tables.show(scored[["answer_given", "judge", "judged_by"]], digits=2)

# %% [markdown]
# ## Is the judge right?
# A reader (an AI model, no person: docs/metric.md) graded answers of Table 2's models by the scale
# above, before anything had judged them: some drawn *even* over methods, hops and attributes, some
# *near* misses, some of other *wording*. Kappa is agreement beyond chance; exact match is the bar.

# %%
by_judge = calibration.judged(graded.read(), config.judge, config.account)
agreement = calibration.table(by_judge)
some = agreement["answers"].isin([calibration.ALL, *graded.PARTS])
out.table("judge_calibration", agreement, show=agreement[some])

# %%
counts = calibration.confusion(by_judge)
out.table("judge_confusion", counts)
out.figure("judge_confusion", figures.confusion(counts))

# %% [markdown]
# The rule reads words: a sum with a wrong digit is nothing to it, and a sentence that names
# somebody holds all words of an e-mail address made of the name. Where they differ most:

# %%
apart = calibration.disagreements(by_judge)
out.table("judge_disagreements", apart, show=apart[calibration.SHOWN].head(12), digits=2)

# %% [markdown]
# ## How sure was the model?
# Of the tokens of a name, the inverse perplexity takes the geometric mean of the probabilities,
# Min-k% that of the least likely of them (at least one token): a single guess brings it down.

# %%
names = {"known": [0.9, 0.9, 0.8, 0.9], "partly guessed": [0.9, 0.9, 0.01, 0.9]}
measures = [metrics.inverse_perplexity, metrics.min_k, metrics.mean_probability, metrics.perplexity]
lines = [
    {"name": name, "tokens": str(tokens)} | {of.__name__: of(np.log(tokens)) for of in measures}
    for name, tokens in names.items()
]
tables.show(pd.DataFrame(lines), digits=2)

# %% [markdown]
# ## Exposure
# The truth is ranked among all values that its attribute takes in the dataset. Two formulas fit the
# words "rank within a candidate set": Carlini's, log2|C| - log2 rank, scaled so that rank 1 is
# 100; and the linear one. Ties share their average rank. Four candidates, the truth second:

# %%
place = metrics.rank([-2.1, -0.7, -1.2, -3.0], 2)  # mean log-probabilities; the truth is third
place, metrics.exposure(place, 4), metrics.exposure(place, 4, formula="linear")

# %% [markdown]
# Chance is not zero, and depends on the number of candidates; beside it, EM by a random pick.

# %%
sizes = [2, 5, 10, 20, 50, 100]
chance = pd.DataFrame(
    [[n, metrics.exposure_chance(n), metrics.exposure_chance(n, "linear"), 100 / n] for n in sizes],
    columns=["candidates", "Exposure, log", "Exposure, linear", "EM"],
)
out.table("metrics_chance", chance)

# %% [markdown]
# ## Which formula is the paper's?
# Two sources print forget EM and Exposure side by side: the paper's Table 2, and PAVA (arXiv
# 2608.30649), which made ReMem's model forget one person again, asked multi-hop. Each formula
# predicts the Exposure of a row from its forget EM, once it is said where right and wrong answers
# stand. *Assumed* (ours): a right answer has rank 1, and the rest is even over the ranks below, of
# as many candidates as the paper has people. *Measured*: the mean Exposure of the rows that were
# answered right, and of those answered wrong, in this world: by one model before unlearning and
# after each method, by hop. These are runs of Table 2, which notebook 7 finds done.

# %%
one = {"models": config.models[:1], "seeds": config.seeds[:1]}
rows = collect(experiments.unlearning(config, **one), "models")
rows = rows[(rows["view"] == "forget") & rows["method"].isin([paper.BEFORE, *paper.METHODS])]
levels = exposure.levels(rows)
out.table("metrics_ranks", levels, index=True)

# %%
forms = exposure.predictions(levels)
shown = [name for name in forms if name in ("row", "source") or "residual" in name]
out.table("metrics_exposure_forms", forms, show=forms[shown])

# %%
fit = exposure.fit(forms)
out.table("metrics_exposure_fit", fit)

# %%
candidates = int(paper.paper_table("setup").identities["dataset"])
ranks = pd.DataFrame({"rank": np.arange(1, candidates + 1)})
for formula in exposure.FORMULAS:
    all_of_them = np.full(candidates, candidates)
    ranks[formula] = metrics.exposure(ranks["rank"], all_of_them, formula)
out.figure("metrics_exposure", figures.worked_exposure(ranks, forms))

# %% [markdown]
# ## What had to be assumed
# All that the paper, in the text of it that we have, leaves open: here and in the other notebooks.

# %%
out.table("assumptions", paper.assumptions())

# %% [markdown]
# ## Verdict
# None of the paper's claims is put to the test here. Which formula is its? That is settled where
# one is the nearer, and near, for both sources and with ranks assumed and measured alike; otherwise
# it stays open. Every table prints both.

# %%
whole = fit[~fit.source.isin(["paper, 7B", "paper, 13B"])].dropna()
Markdown(
    f"**Which formula: {exposure.verdict(fit)}.** RMSE, in points: "
    + "; ".join(
        f"{source}, ranks {ranks}, "
        + " and ".join(f"{line.RMSE:.1f} ({line.formula})" for line in part.itertuples())
        for (source, ranks), part in whole.groupby(["source", "ranks"], sort=False)
    )
    + f". Near is within {exposure.CLOSE:g}."
)
