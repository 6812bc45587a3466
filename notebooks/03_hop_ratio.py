# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Which questions should teach?
#
# *What is the address of the person in this image?* takes two steps: from the face to the name, and
# from there to the fact. Benchmarks ask almost nothing else. If the steps are easier to learn one
# at a time, then questions that give the name away should help, up to a point.
#
# **Claim (section 5, Fig 3c).** *Performance peaked across both question types when the training
# data contained a 70% ratio of single-hop questions: a strategic mix of reasoning types is
# essential for robust memorization.*

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
from remem import claims, figures, lessons, params, paths, runs, tables

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate, experiments=experiments,
                judge=judge, benchmark=benchmark, construction=construction)
folders = paths.outputs(p.scale)

# %% [markdown]
# ## Setting
# A fixed number of questions, of which 0 to 100 % are single-hop; both kinds are asked afterwards,
# in held-out wordings and layouts. Twice:
#
# - *one person* at a time, as in the paper. With only one person taught, there is nobody to confuse
#   them with: the face need not be recognised at all, any face will do.
# - *everybody at once*, who have to be told apart. Here a multi-hop question is two steps indeed.
#
# How many questions is a choice that matters: where all answers are right, or all wrong, no mix can
# be better than another. It was made on people and a seed that are not reported here; `params/`
# says what was tried.

# %%
taught = lessons.hops(p)
# The longest first, so that no core waits for the other at the end.
done = runs.sweep([("remem.train:run", each.spec) for each in taught[::-1]], folders.runs,
                  p.workers, "mixes")[::-1]
rows = lessons.rows(taught, done).assign(model=p.models[0])
print(f"{len(done)} runs, {len(rows):,} answers")

# %% [markdown]
# ## Fig 3c
# EM in percent. The peak is the share with the highest mean; its interval comes from drawing the
# (seed, person) again and again and looking where the peak falls each time. A wide one means that
# the curve is flat at the top.

# %%
table, peaks = tables.hops(rows), tables.peaks(rows)
paths.write(folders.tables / "fig3c.csv", table.to_csv(index=False))
paths.write(folders.tables / "fig3c_peaks.csv", peaks.to_csv(index=False))
fig3c = figures.fig3c(table, peaks)
paths.save_figure(fig3c, folders.figures / "fig3c")
fig3c

# %%
tables.show(peaks)

# %% [markdown]
# ## The numbers

# %%
wide = table.pivot(index=["setting", "share"], columns="hop", values="EM").reset_index()
tables.show(wide.rename(columns={hop: f"EM, {hop}-hop" for hop in ("single", "multi")}))

# %% [markdown]
# ## Where a peak comes from
# The same by attribute, everybody at once. A single-hop lesson shows the face and gives the name,
# but never asks for it: is the name learned all the same?

# %%
several = rows[rows.setting != lessons.ONE].assign(EM=lambda table: 100 * table.em)
by_kind = several.assign(kind=several.attribute.where(several.attribute == "name", "facts")
                         + ", " + several.hop)
by_kind = by_kind.pivot_table(index="share", columns="kind", values="EM").round(1)
paths.write(folders.tables / "fig3c_kinds.csv", by_kind.to_csv())
tables.show(by_kind.reset_index())

# %% [markdown]
# ## Verdict
# The paper's claim asks for the peak at one share; the weaker one, that a mix beats both extremes,
# is ours, and so is everything about several people.

# %%
verdict = claims.check(claims.of("fig3c"), rows, scale=p.drawn)
paths.write(folders.verdicts / "03_hop_ratio.csv", verdict.to_csv(index=False))
tables.show(verdict)
