# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. Table 2, fact by fact
#
# Beyond the paper. A claim about forgetting is a claim about what had been learned, and an average
# over facts may hide which of them it speaks of. So here Table 2 is taken apart: the facts that
# stage 1 had really taught, the values that fall first, and what the numbers hang on that the paper
# does not print.
#
# **Trained here:** the methods of one seed with other settings; all else is notebook 7's.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
from IPython.display import Markdown

from remem import experiments, paper
from remem.evaluation import judge
from remem.jobs import collect
from remem.report import facts, figures, tables
from remem.report.output import begin

config, out = begin("10_facts", scale, overrides)

# %%
varied = collect(experiments.sensitivity(config), "sensitivity")
rows = collect(experiments.unlearning(config), "Table 2")
rows = judge.score(rows, config.judge, config.account, rows["view"] == "forget")
rows = facts.mark_taught(rows)

# %% [markdown]
# ## Facts that were really taught
# A fact that stage 1 never got across cannot be forgotten, and lowers the forget EM for nothing. A
# fact (of a person, asked for by one hop) counts as taught where, before unlearning, every held-out
# question about it was answered right and its value ranked first. Table 2 of those alone:

# %%
taught = facts.table2_taught(rows)
out.table("table2_taught", taught, show=tables.main(taught))

# %%
Markdown(
    "Of the facts to forget, really taught: "
    + "; ".join(
        f"{line.model}, {line.hop}-hop {line.taught} of {line.facts}"
        for line in taught[taught.method == paper.BEFORE].itertuples()
    )
    + "."
)

# %% [markdown]
# ## Which values fall first
# One wrong token spoils an exact match, so the longer a value, the sooner its EM falls. Its
# log-probability (nats, as a mean per token and as a sum) does not depend on that. Means over the
# methods, the shortest values first:

# %%
by_attribute = facts.by_attribute(rows)
shown = ["value_tokens", "EM_f", "Exposure", "Exposure_linear", "logp", "logp_sum"]
methods = by_attribute[by_attribute.method.isin(paper.METHODS)]
lengths = methods.groupby("attribute")[shown].mean().sort_values("value_tokens").reset_index()
out.table("table2_by_attribute", by_attribute, show=lengths)

# %% [markdown]
# EM_f of each attribute, by model and method:

# %%
columns = {"columns": ["model", "method"], "values": "EM_f", "sort": False}
wide = by_attribute.pivot_table(index=["attribute", "hop"], **columns).round(0)
wide.columns = [", ".join(names) for names in wide.columns]
tables.show(wide.reset_index())

# %% [markdown]
# ## What Table 2 hangs on
# Three things that the paper does not print, on one model and one seed: beta of DPO and NPO, the
# refusals that DPO teaches (*base*: those that tiny base models read in pretraining), and what
# counts as an exact match, for which the same answers are read anew.

# %%
first = rows[(rows.model == config.models[0]) & (rows.seed == config.seeds[0])]
sensitivity = facts.sensitivity(first, varied)
out.table("table2_sensitivity", sensitivity)

# %%
out.figure("table2_sensitivity", figures.sensitivity(sensitivity))

# %%
em = sensitivity.groupby(["varied", "method", "hop"], sort=False)["EM_f"]
change = em.max() - em.min()
Markdown(
    "The largest change of EM_f, in points: "
    + "; ".join(
        f"{what} {each.max():.0f} ({each.idxmax()[1]}, {each.idxmax()[2]}-hop)"
        for what, each in change.groupby(level="varied", sort=False)
    )
    + "."
)
