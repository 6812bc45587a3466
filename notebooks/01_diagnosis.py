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
#
# **Trained here:** the base model on each of these shapes, and on ReMem's with one thing changed.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd

from remem import experiments, paper
from remem.evaluation import judge
from remem.jobs import collect, sweep
from remem.report import claims, figures, measured, tables
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
names, traces = experiments.signatures(config), experiments.traces(config, paper.SETS[:2])
made = sweep(shapes + changes + names + traces, "diagnosis")

# %%
rows = collect(shapes)
rows = judge.score(rows, config.judge, config.account, rows.split == "train")
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
causes = judge.score(causes, config.judge, config.account, causes.split == "train")
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
# ## Fig 2, right: where is it?
# Causal tracing. The clean run answers; in the corrupted run one thing is changed; then the output
# of one layer's MLP or attention, at some of the positions, is put back from the clean run. How
# much of the lost probability returns?
#
# *The name* is asked for as in the paper: "What is the name of this person in the image? The name
# of the person in the image is". The subject is mentioned twice, in the question and in the
# beginning of the answer. With one of them left whole the network loses next to nothing and there
# is nothing to trace, so both are changed: to a wrong subject (some other thing, of as many
# tokens), or by Gaussian noise on their embeddings, as large as in Meng et al. (2022). The third
# change is another person's picture.
#
# A network is causal. What stands before the first change is the same in both runs, and nothing
# can return from there: with the subject changed the picture stays dark by construction, and only
# another's picture shows where a face is read. At the last position the answer is written; that
# late layers matter there is true of any answer, known or not.

# %%
traced, floor = collect(traces), config.experiments.trace.floor
table = tables.traces(traced, floor)
out.table("fig2b", table)
out.figure("fig2b", figures.traces(table))

# %% [markdown]
# *A fact* is asked by name ("What is the job of ...? The job of ... is"), another fact from person
# to person. Now the subject is the name, and the wrong one is somebody else's. Where a name
# decides, another's picture must change little.

# %%
if (table.asked == "fact").any():
    out.figure("fig2b_facts", figures.traces(table, asked="fact"))

# %% [markdown]
# Below the floor of `params/` a total effect is nothing that could be shared out. A peak is where
# one half of the people have their highest effect, and its height is what the *other* half has
# there: the highest of many numbers is high by chance, this is not. Whether the Real Set has
# anything to trace at all is a precondition of every claim about traces.

# %%
out.table("fig2b_peaks", tables.trace_peaks(traced, floor))

# %%
out.preconditions(measured.of_traces(traced))

# %% [markdown]
# The paper's figure is not in its text. What scale `paper` should find is what another group found
# in LLaVA-1.5-7B on the real ReMem, by swapping the picture or the name (PAVA, arXiv 2608.30649):
# the face is read early by MLPs at the image's tokens, the name earlier still, and the last token's
# attention follows in the middle layers and later.

# %%
tables.show(paper.paper_table("pava_trace").reset_index())

# %% [markdown]
# ## Verdict
# Notebook 9 says how to read it. It is about the shapes of data, not about the benchmarks' own
# files.

# %%
scope = config.diagnosis_scope
verdicts = [
    claims.check(claims.of("fig1"), rows, scope=scope),
    claims.check(claims.of("fig2a"), points, scope=scope),
    claims.check(claims.of("fig2b"), traced, scope=scope, floor=floor),
]
out.verdicts(pd.concat(verdicts, ignore_index=True))
