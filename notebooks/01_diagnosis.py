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
# Benchmarks for unlearning first teach a model fictitious people. If that fails, what comes after
# measures nothing. This notebook teaches the same base model data of three shapes, and looks at
# what it says, how sure it is, and where inside it the names are.
#
# **Claims (sections 1 and 4, Fig 1 and 2).** *Models remain significantly under-memorized across
# all metrics, and the exceptionally low EM scores indicate that they fail to learn core PII from
# the outset; the Real Set clusters in the upper-right quadrant, FIUBench and MLLMU-Bench in the
# lower-left; the base model exhibits distinct layers with high IE for the Real Set, models
# fine-tuned on FIUBench negligible or scattered IE values.*

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

from remem import claims, figures, lessons, params, paths, runs, tables, trace
from remem import judge as judging  # `judge` is a parameter

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate, experiments=experiments,
                judge=judge, benchmark=benchmark, construction=construction)
folders = paths.outputs(p.scale)

# %% [markdown]
# ## Setting
# Unless `experiments.diagnosis.files` names the other benchmarks' own files, which are not at hand
# by default, their *shape* is taught: invented people with one picture each and multi-hop questions
# only, 20 a person as in FIUBench, or fewer about more people, as in MLLMU-Bench. At scale tiny
# rows and optimiser steps are as many as ReMem's, so that neither makes the difference. *EM* and
# *ROUGE* are over the rows that were taught, *EM_t* over held-out questions and pictures of the
# same people, of which half of ReMem's are single-hop.
#
# One thing is not even: the learning rate was chosen on ReMem's shape (`params/` says how). The
# last loss of each run says how far it got with it.

# %%
taught, changed, sets = lessons.diagnosis(p), lessons.causes(p), lessons.sets(p)
specs = [*(each.spec for each in taught + changed), *sets.values()]
done = runs.sweep([("remem.train:run", spec) for spec in specs], folders.runs, p.workers,
                  "lessons")
rows = lessons.rows(taught, done[: len(taught)]).assign(model=p.models[0])
rows = judging.score(rows, p.judge, folders.judge, rows.split == "train")
how = pd.DataFrame([
    {**each.label, "people": part.identity.nunique(), "rows": len(part), "steps": len(history),
     "last loss": history.loss.iloc[-1]}
    for each, folder in zip(taught, done, strict=False)
    for part in [pd.read_parquet(folder / "predictions.parquet").query("split == 'train'")]
    for history in [pd.read_csv(folder / "history.csv")]])
tables.show(how, digits=3)

# %% [markdown]
# ## Fig 1
# Percent; the hollow mark is the paper's where its text gives a number (ReMem's, in Table 3).

# %%
table = tables.fig1(rows)
paths.write(folders.tables / "fig1.csv", table.to_csv(index=False))
fig1 = figures.fig1(table)
paths.save_figure(fig1, folders.figures / "fig1")
fig1

# %%
tables.show(table)

# %% [markdown]
# ## One thing at a time
# What is it about that shape? ReMem's people, with as many steps, and one thing changed: a single
# picture per person; few questions per person, and those in five epochs, which are fewer steps; no
# question that names the person; several of these; and as many rows about more people.

# %%
causes = lessons.rows(changed, done[len(taught) : len(taught) + len(changed)])
causes = causes.assign(model=p.models[0])
causes = judging.score(causes, p.judge, folders.judge, causes.split == "train")
causes = tables.causes(causes)
paths.write(folders.tables / "fig1_causes.csv", causes.to_csv(index=False))
fig = figures.causes(causes)
paths.save_figure(fig, folders.figures / "fig1_causes")
fig

# %%
tables.show(causes)

# %% [markdown]
# ## Fig 2, left: how sure is it of a name?
# After the picture and *The name of the person in the image is*, how likely is the true name?
# Across: its inverse perplexity, the geometric mean of the probabilities of its tokens. Up: the
# same over the least likely fifth of them (Min-k%), which no lucky guess lifts. Percent. The Real
# Set is asked of the base model, everybody else of the model that was taught them.

# %%
people = p.experiments.trace.people
points = pd.concat([lessons.signatures(spec, people, folders.runs).assign(set=name)
                    for name, spec in sets.items()], ignore_index=True)
points = points.assign(model=p.models[0])
paths.write(folders.tables / "fig2a.csv", points.to_csv(index=False))
fig2a = figures.fig2a(points)
paths.save_figure(fig2a, folders.figures / "fig2a")
fig2a

# %% [markdown]
# ## Fig 2, right: where is the name?
# Causal tracing. The clean run asks for the name of "this person"; in the corrupted run something
# irrelevant, of as many tokens, stands in those words' place. Then the output of one layer's MLP or
# attention, at some of the positions, is put back from the clean run: how much of the lost
# probability returns? (Of *residual*, at the subject, everything must: it is the control.) What
# comes before the words that were swapped, the picture too, is the same in both runs, so that
# nothing can return from there. And what is said of the name again, "the name of the person in the
# image is", may do without them: then the total effect is small, and nothing can be told.

# %%
specs = [trace.TraceSpec(taught=spec, trace=p.experiments.trace) for spec in sets.values()]
found = runs.sweep([("remem.trace:run", spec) for spec in specs], folders.runs, p.workers, "traces")
traced = pd.concat([pd.read_parquet(folder / "trace.parquet").assign(set=name, model=p.models[0])
                    for name, folder in zip(sets, found, strict=True)], ignore_index=True)
table = tables.traces(traced, p.experiments.trace.floor)
paths.write(folders.tables / "fig2b.csv", table.to_csv(index=False))
fig2b = figures.traces(table)
paths.save_figure(fig2b, folders.figures / "fig2b")
fig2b

# %% [markdown]
# So the second corruption (ours) swaps the picture, for another person's: what is put back now
# shows where the face enters, and where it becomes a name. Where the total effect is below the
# floor of `params/`, nothing can be told.

# %%
swapped = figures.traces(table, corruption="image")
paths.save_figure(swapped, folders.figures / "fig2b_image")
swapped

# %%
total = table.drop_duplicates(["set", "corruption"])
tables.show(total[["set", "corruption", "clean", "corrupted", "total", "people", "told"]], digits=3)

# %% [markdown]
# ## Verdict
# How to read it, notebook 6 says at its end. About the shapes of data, not about the benchmarks'
# own files.

# %%
verdict = pd.concat([claims.check(claims.of("fig1"), rows, scale=p.compared),
                     claims.check(claims.of("fig2a"), points, scale=p.compared),
                     claims.check(claims.of("fig2b"), traced, scale=p.compared,
                                  floor=p.experiments.trace.floor)])
paths.write(folders.verdicts / "01_diagnosis.csv", verdict.to_csv(index=False))
tables.show(verdict)
