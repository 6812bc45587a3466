# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Which questions should stage 1 train on?
#
# *What is the address of the person in this image?* takes two steps: from the face to the name, and
# from there to the fact. Benchmarks ask almost nothing else. If the steps are easier to learn one
# at a time, then questions that give the name away should help, up to a point.
#
# **Claim (section 5, Fig 3c).** *Performance peaked across both question types when the training
# data contained a 70% ratio of single-hop questions: a strategic mix of reasoning types is
# essential for robust memorization.*
#
# **Trained here:** a model for each share of single-hop questions, of one person and of several.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
from IPython.display import Markdown

from remem import experiments, paper
from remem.jobs import collect
from remem.report import claims, figures, tables
from remem.report.output import begin

config, out = begin("03_hop_ratio", scale, overrides)

# %% [markdown]
# ## Setting
# A fixed number of questions, none to all of them single-hop. Afterwards both kinds are asked, in
# held-out wordings and layouts. Twice:
#
# - *one person* at a time, as in the paper. With only one person in training there is no one
#   else to confuse them with: the face need not be recognised at all, any face will do.
# - *several people at once*, who have to be told apart. Here a multi-hop question really is two
#   steps.
#
# How many questions is a choice that matters: where all answers are right, or all wrong, no mix can
# be better than another. It was made on people and a seed that are not reported here; `params/`
# says what was tried.

# %%
jobs, settings = experiments.hops(config), config.experiments.hops
rows = collect(jobs, "mixes")
Markdown(
    f"{len(jobs)} models gave {len(rows):,} answers. Questions to train on: about one person at a "
    f"time {settings.one_person.samples}, about several {settings.several_people.samples} each. "
    f"People, one at a time: {settings.one_person.people} (seeds: {settings.one_person.seeds}); "
    f"several at once: {settings.several_people.people} (seeds: {settings.several_people.seeds})."
)

# %% [markdown]
# ## Fig 3c
# EM in percent. The peak is the share with the highest mean; its interval comes from drawing the
# (seed, person) again and again and looking where the peak falls each time. A wide one means that
# the curve is flat at the top.

# %%
table, peaks = tables.hops(rows), tables.peaks(rows)
out.table("fig3c", table)
out.figure("fig3c", figures.fig3c(table, peaks))

# %%
out.table("fig3c_peaks", peaks)

# %% [markdown]
# ## The numbers

# %%
wide = table.pivot(index=["setting", "share"], columns="hop", values="EM").reset_index()
tables.show(wide.rename(columns={hop: f"EM, {hop}-hop" for hop in paper.HOPS}))

# %% [markdown]
# ## Where a peak comes from
# The same by attribute, for several people at once. A single-hop question in training shows the
# face and gives the name, but never asks for it: is the name learned all the same?

# %%
several = rows[rows.setting != paper.SETTINGS[0]]
kind = several.attribute.where(several.attribute == "name", "facts") + ", " + several.hop
by_kind = several.assign(EM=100 * several.em, kind=kind)
by_kind = by_kind.pivot_table(index="share", columns="kind", values="EM").round(1)
out.table("fig3c_kinds", by_kind, index=True)

# %% [markdown]
# ## Verdict
# The paper's claim asks for the peak at one share. The weaker one, that a mix beats both extremes,
# is ours, and so is everything about several people. Notebook 9 says how to read a verdict.

# %%
out.verdicts(claims.check(claims.of("fig3c"), rows, scope=config.synthetic_scope))
