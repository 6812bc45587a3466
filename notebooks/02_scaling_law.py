# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. How often must a fact be repeated?
#
# Benchmarks train on a handful of questions about each person and assume that the person is then
# known. This notebook trains on one person at a time, with more and more questions, and asks
# questions that were held out.
#
# **Claims (section 5, Fig 3a and 3b).** *ROUGE and EM scores increase significantly as the number
# of samples grows, indicating that data repetition is crucial; perplexity generally decreases up to
# 160 before spiking at 180, a characteristic sign of overfitting.*
#
# **Trained here:** a model for each person, number of questions and seed.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown

from remem import experiments, paper
from remem.jobs import collect
from remem.report import claims, figures, tables
from remem.report.output import begin

config, out = begin("02_scaling_law", scale, overrides)

# %% [markdown]
# ## Setting
# Each run trains the base model on one person with stage 1's settings, each question over a picture
# of its own. A smaller set of questions lies within a larger one. Afterwards the held-out questions
# about that person are asked: other wordings, other layouts. The paper took one person; several,
# each with several seeds, give the curve a band.
#
# **A confound.** The same epochs over more questions are also more optimiser steps. So each size is
# trained again with *equal updates*, the same number for all. If the dashed curve is flat, the
# updates did it, and not the number of different questions.

# %%
jobs, settings = experiments.scaling(config), config.experiments.scaling
rows = collect(jobs, "one person")
Markdown(
    f"People: {rows.identity.nunique()}; seeds: {rows.seed.nunique()}. Questions about each: "
    f"{min(settings.samples)} to {max(settings.samples)} to train on, {settings.single} % of them "
    f"single-hop, and {rows.groupby('identity').id.nunique().max()} held out. Updates in the "
    f"control: {settings.updates}. Epochs of what the tables call *{paper.EPOCHS}*, the paper's "
    f"protocol: {config.stage1.epochs}."
)

# %%
by = ["samples", "control"]
updates = collect(jobs.training()).groupby(by).step.max().rename("updates").reset_index()
tables.show(updates.pivot(index="samples", columns="control", values="updates").reset_index())

# %% [markdown]
# ## Fig 3a, 3b
# Percent, and the perplexity of the true answer (1 is certainty). Bands are 95 % intervals over
# (seed, person).

# %%
table = tables.scaling(rows)
for name, columns in (("fig3a", ["ROUGE", "EM"]), ("fig3b", ["perplexity"])):
    ends = [f"{column}{end}" for column in columns for end in ("", "_lo", "_hi")]
    out.table(name, table[["samples", "control", "updates", "units", *ends]])
tables.show(table)

# %%
out.figure("fig3a", figures.fig3a(table))

# %%
out.figure("fig3b", figures.fig3b(table))

# %% [markdown]
# ## Does perplexity turn up again?
# The paper sees it spike at 180. Where is it lowest here, and how far does it rise after that, in
# percent? Each line is one (person, seed).

# %%
usual = rows[rows.control == paper.EPOCHS]
curves = usual.pivot_table(index=["identity", "seed"], columns="samples", values="perplexity")
lowest = curves.idxmin(axis=1)
after = [curve[low:].max() for low, (_, curve) in zip(lowest, curves.iterrows(), strict=True)]
turn = pd.DataFrame({"lowest at": lowest, "lowest": curves.min(axis=1), "highest after": after})
turn["rise"] = 100 * (turn["highest after"] / turn["lowest"] - 1)
out.table("perplexity_turn", turn, digits=3, index=True)

# %% [markdown]
# ## By hop
# A single-hop question names the person; a multi-hop question needs the face as well.

# %%
by_hop = rows.assign(EM=100 * rows.em)
by_hop = by_hop.pivot_table(index="samples", columns=["control", "hop"], values="EM").round(1)
by_hop.columns = [f"{control}, {hop}-hop" for control, hop in by_hop.columns]
out.table("scaling_by_hop", by_hop, index=True)

# %% [markdown]
# ## Verdict
# Notebook 9 says how to read it. The claims under equal updates are ours: they ask whether the
# paper's survive the control.

# %%
found = claims.of("fig3a") + claims.of("fig3b")
out.verdicts(claims.check(found, rows, scope=config.synthetic_scope))
