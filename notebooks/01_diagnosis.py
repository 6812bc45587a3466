# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Was anything there to forget?
#
# Benchmarks for unlearning first train a model on fictitious people. If that fails, what comes
# after measures nothing. This notebook trains the same base model on data of several shapes, and
# looks at what it says, how sure it is, and where inside it the names are.
#
# **Claims (sections 1 and 4, Fig 1 and 2).** *Models remain significantly under-memorized across
# all metrics, and the exceptionally low EM scores indicate that they fail to learn core PII from
# the outset; the Real Set clusters in the upper-right quadrant, FIUBench and MLLMU-Bench in the
# lower-left; the base model exhibits distinct layers with high IE for the Real Set, models
# fine-tuned on FIUBench negligible or scattered IE values.*

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd

from remem import experiments
from remem.evaluation import judge
from remem.jobs import collect, sweep
from remem.report import claims, figures, tables
from remem.report.output import begin

config, out = begin("01_diagnosis", scale, overrides)

# %% [markdown]
# ## Setting
# The other benchmarks' own files are not at hand by default (`experiments.diagnosis.files` names
# them where they are). So their *shape* is drawn: invented people with few pictures each and
# multi-hop questions only, fewer a person and about more people than in ReMem, of which fewer ask
# for the name. *EM* and *ROUGE* are over the rows of training, *EM_t* over held-out questions and
# pictures of the same people; of a larger shape the first people are asked about.
#
# Each shape is trained on as the paper does it, in as many epochs as ReMem, and so in as many
# optimiser steps as its own rows make of them. One thing is not even: the learning rate was chosen
# on ReMem's shape (`params/` says how). The last loss says how far each run got with it.

# %%
shapes, changes = experiments.diagnosis(config), experiments.causes(config)
names, traces = experiments.signatures(config), experiments.traces(config)
made = sweep(shapes + changes + names + traces, "diagnosis")

# %%
rows = collect(shapes)
rows = judge.score(rows, config.judge, config.folders.judge, rows.split == "train")
history = collect(shapes.training()).groupby(["benchmark", "seed"], sort=False).loss
steps = history.agg(["size", "last"]).groupby("benchmark", sort=False).mean()
asked = rows[rows.split == "train"].groupby("benchmark", sort=False)
name = asked.attribute.agg(lambda column: 100 * (column == "name").mean())
size = {"optimiser steps": steps["size"], "last loss": steps["last"]}
size |= {"people asked about": asked.identity.nunique(), "asking the name, %": name}
tables.show(pd.DataFrame(size).rename_axis("benchmark").reset_index(), digits=3)

# %% [markdown]
# ## Fig 1
# Percent, with intervals over (seed of stage 1, person); a hollow mark is the paper's, where its
# text gives a number (ReMem's, in Table 3).

# %%
table = tables.fig1(rows)
out.figure("fig1", figures.fig1(table))

# %%
out.table("fig1", table)

# %% [markdown]
# ## One thing at a time
# What is it about that shape? ReMem's people again, one thing changed towards FIUBench's: few
# pictures per person; few questions per person; no question that names the person; all of these at
# once; and as many rows about more people. Each has as many optimiser steps as ReMem itself, so
# that no change is one of steps, but for the few questions in *five epochs*, which are fewer.

# %%
causes = collect(changes)
causes = judge.score(causes, config.judge, config.folders.judge, causes.split == "train")
causes = tables.causes(causes)
out.figure("fig1_causes", figures.causes(causes))

# %%
out.table("fig1_causes", causes)

# %% [markdown]
# ## Fig 2, left: how sure is it of a name?
# After the picture and *The name of the person in the image is*, how likely is the true name?
# Across: its inverse perplexity, the geometric mean of the probabilities of its tokens. Up: the
# same over the least likely of them (Min-k%), which no lucky guess lifts. Percent. The Real Set is
# asked of the base model, everybody else of the model that was trained on them.

# %%
points = collect(names)
out.table("fig2a", points)
out.figure("fig2a", figures.fig2a(points))

# %% [markdown]
# ## Fig 2, right: where is the name?
# Causal tracing. The clean run asks for the name of "this person"; in the corrupted run something
# irrelevant, of as many tokens, stands in place of those words. Then the output of one layer's MLP
# or attention, at some of the positions, is put back from the clean run: how much of the lost
# probability returns? (Of *residual*, at the subject, all must: it is the control.)
#
# What stands before the replaced words, the picture too, is the same in both runs, so nothing can
# return from there. And the model may do without those words: then the total effect is small, and
# nothing can be told.

# %%
traced = collect(traces)
table = tables.traces(traced, config.experiments.trace.floor)
out.table("fig2b", table)
out.figure("fig2b", figures.traces(table))

# %% [markdown]
# So the second corruption (ours) replaces the picture by another person's: what is put back now
# shows where the face enters, and where it becomes a name.

# %%
out.figure("fig2b_image", figures.traces(table, corruption="image"))

# %% [markdown]
# The total effect of each set. Where it is below the floor of `params/`, it is not *measurable*.

# %%
columns = ["set", "corruption", "clean", "corrupted", "total", "people", "measurable"]
tables.show(table.drop_duplicates(["set", "corruption"])[columns], digits=3)

# %% [markdown]
# ## Verdict
# Notebook 9 says how to read it. It is about the shapes of data, not about the benchmarks' own
# files.

# %%
scope, floor = config.diagnosis_scope, config.experiments.trace.floor
verdicts = [
    claims.check(claims.of("fig1"), rows, scope=scope),
    claims.check(claims.of("fig2a"), points, scope=scope),
    claims.check(claims.of("fig2b"), traced, scope=scope, floor=floor),
]
out.verdicts(pd.concat(verdicts, ignore_index=True))
