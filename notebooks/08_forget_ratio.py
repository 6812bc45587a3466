# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8. How many can be forgotten?
#
# Requests to be forgotten do not come in one size. The same methods, asked to forget fewer and more
# people.
#
# **Claims (A.3, Fig 6 and 7).** *Increasing the forget set size enhances forgetting efficacy but
# invariably incurs a cost on model utility; GD consistently maintains the highest utility scores,
# NPO is the most aggressive unlearner; Exposure rises despite lower generation metrics; and the 13B
# model maintains relatively flat performance curves.*
#
# **Trained here:** each method again, for fewer and for more people.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd

from remem import experiments, paper
from remem.evaluation import judge
from remem.jobs import collect
from remem.report import claims, figures, tables
from remem.report.output import begin

config, out = begin("08_forget_ratio", scale, overrides)

# %% [markdown]
# ## Setting
# All is as in notebook 7 but the number of people. The smaller sets lie within the larger: each is
# drawn from the set that its seed forgets in Table 2, and at the smallest ratio a seed draws more
# than once, so that enough people are forgotten at each. The runs at Table 2's ratio are Table 2's.
#
# **A confound.** The same epochs over more people are more optimiser steps. So the first model
# forgets some sets again with *equal updates*, as many as Table 2's set takes: then a larger set
# means more people, and not more steps.

# %%
jobs = experiments.forget_ratios(config)
rows = collect(jobs, "forget ratios")
rows = judge.score(rows, config.judge, config.account, rows["view"] == "forget")
history = collect(jobs.training())
by = ["model", "ratio", "control"]
forgotten = rows[rows["view"] == "forget"].groupby(by, sort=False)
steps = history[history.method != paper.BEFORE].groupby(by, sort=False).step.max()
size = {"people, in all draws": forgotten.identity.nunique(), "seeds": forgotten.seed.nunique()}
tables.show(pd.DataFrame(size).assign(updates=steps).reset_index())

# %% [markdown]
# ## Fig 6 and 7
# One figure per model size. Solid: the paper's protocol; dashed: equal updates. Above, what should
# stay (ROUGE, EM_r, on retained people); below, what should fall (the judge, EM_f, Exposure and
# EM_t, on the forgotten). The text that we have gives no numbers for these figures.

# %%
print(tables.warning(rows[rows.method == paper.BEFORE]))
table, drawn = tables.ratios(rows, paper=config.is_remem), []
for model in config.models:
    number = 7 if paper.counterpart(model) == paper.MODELS[1] else 6
    out.table(f"fig{number}", table[table.model == model])
    drawn.append(out.figure(f"fig{number}", figures.ratios(table, model)))
drawn[0]

# %%
drawn[-1]

# %% [markdown]
# ## From the smallest set to the largest
# The change in percentage points, hops together; of the forgotten, the means are over other people
# at each ratio.

# %%
ends = table[table.ratio.isin([table.ratio.min(), table.ratio.max()])]
columns = [name for name in ("ROUGE", "EM_r", "judge", "EM_f", "Exposure", "EM_t") if name in ends]
change = ends.groupby(["model", "control", "method", "ratio"], sort=False)[columns].mean()
change = change.groupby(level=[0, 1, 2], sort=False).agg(lambda part: part.iloc[-1] - part.iloc[0])
out.table("ratio_change", change, index=True)

# %% [markdown]
# ## Verdict
# Notebook 9 says how to read it. Claims under equal updates are ours: they ask which of the paper's
# survive the control.

# %%
out.verdicts(claims.check(claims.of("fig6"), rows, scope=config.verdict_scope))
