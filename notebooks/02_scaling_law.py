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
# Benchmarks teach a handful of questions about each person and take it that the person is then
# known. This notebook teaches one person at a time, with more and more questions, and asks
# questions that were held back.
#
# **Claims (section 5, Fig 3a and 3b).** *ROUGE and EM scores increase significantly as the number
# of samples grows, indicating that data repetition is crucial; perplexity generally decreases up to
# 160 before spiking at 180, a characteristic sign of overfitting.*

# %% tags=["parameters"]
scale = "tiny"
models = None
seeds = None
workers = None
dataset = None
base = None
stage1 = None
stage2 = None
evaluate = None
experiments = None
judge = None
benchmark = None
construction = None

# %%
import pandas as pd

from remem import claims, figures, lessons, params, paths, runs, tables

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate, experiments=experiments,
                judge=judge, benchmark=benchmark, construction=construction)
folders = paths.outputs(p.scale)

# %% [markdown]
# ## Setting
# Each run teaches the base model one person: from 20 to 200 different questions, 70 % of them
# single-hop, each over a picture of its own, with stage 1's settings. A smaller lesson lies within
# a larger one. Afterwards the 28 held-out questions about that person are asked: other wordings,
# other layouts. The paper taught one identity; several, each by several seeds, give the curve a
# band.
#
# **A confound.** Five epochs over ten times the questions are also more optimiser steps. So each
# size is taught again with *equal updates*, the same number for all. If the dashed curve is flat,
# it was the updates that did it, and not the number of different questions.

# %%
taught = lessons.scaling(p)
done = runs.sweep([("remem.train:run", each.spec) for each in taught], folders.runs, p.workers,
                  "lessons")
rows = lessons.rows(taught, done).assign(model=p.models[0])
steps = pd.DataFrame([{**each.label, "updates": len(pd.read_csv(folder / "history.csv"))}
                      for each, folder in zip(taught, done, strict=True)])
steps = steps.drop_duplicates().pivot(index="samples", columns="control", values="updates")
tables.show(steps.astype("Int64").reset_index())

# %% [markdown]
# ## Fig 3a, 3b
# Percent, and perplexity of the true answer (1 is certainty). Bands are 95 % intervals over (seed,
# person).

# %%
table = tables.scaling(rows)
exact = ["samples", "control", "units"]
for name, columns in (("fig3a", ["ROUGE", "EM"]), ("fig3b", ["perplexity"])):
    ends = [f"{column}{end}" for column in columns for end in ("", "_lo", "_hi")]
    paths.write(folders.tables / f"{name}.csv", table[exact + ends].to_csv(index=False))
tables.show(table)

# %%
fig3a = figures.fig3a(table)
paths.save_figure(fig3a, folders.figures / "fig3a")
fig3a

# %%
fig3b = figures.fig3b(table)
paths.save_figure(fig3b, folders.figures / "fig3b")
fig3b

# %% [markdown]
# ## Does perplexity turn up again?
# The paper sees it spike at 180. Where is it lowest here, and how far does it rise after that, in
# percent? Each line is one (person, seed).

# %%
usual = rows[rows.control == claims.EPOCHS]
curves = usual.pivot_table(index=["identity", "seed"], columns="samples", values="perplexity")
turn = pd.DataFrame({
    "lowest at": curves.idxmin(axis=1), "lowest": curves.min(axis=1),
    "highest after": [curve[low:].max() for low, (_, curve) in zip(
        curves.idxmin(axis=1), curves.iterrows(), strict=True)]})
turn["rise"] = 100 * (turn["highest after"] / turn["lowest"] - 1)
paths.write(folders.tables / "perplexity_turn.csv", turn.to_csv())
tables.show(turn.reset_index(), digits=3)

# %% [markdown]
# ## By hop
# A single-hop question names the person; a multi-hop question needs the face as well.

# %%
by_hop = rows.assign(EM=100 * rows.em).pivot_table(
    index="samples", columns=["control", "hop"], values="EM").round(1)
by_hop.columns = [f"{control}, {hop}-hop" for control, hop in by_hop.columns]
paths.write(folders.tables / "scaling_by_hop.csv", by_hop.to_csv())
tables.show(by_hop.reset_index())

# %% [markdown]
# ## Verdict
# How to read it, notebook 6 says at its end. The claims under equal updates are ours: they ask
# whether the paper's survive the control.

# %%
verdict = claims.check(claims.of("fig3a") + claims.of("fig3b"), rows, scale=p.drawn)
paths.write(folders.verdicts / "02_scaling_law.csv", verdict.to_csv(index=False))
tables.show(verdict)
