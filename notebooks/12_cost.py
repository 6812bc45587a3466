# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12. What it costs
#
# Beyond the paper. No claim is looked at here: how long does each thing take that the other
# notebooks are made of, how much memory, and how does that compare with the usual way of doing it?
# The usual way is what a script around a Trainer does: the picture goes through the vision tower in
# every step and for every question, logits are computed at every position, the reference of NPO is
# asked anew in every step, questions are answered and candidates scored one by one. It gives the
# same losses, answers and ranks (the tests hold it to that); `remem/bench/usual.py` is all of it.
#
# **Trained here:** stage 1 of one model and seed, which is notebook 6's; else steps, to time them.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
from IPython.display import Markdown

from remem import runs
from remem.bench import cost
from remem.report.output import begin

config, out = begin("12_cost", scale, overrides)

# %% [markdown]
# Each thing is measured in a process of its own: on a CPU with one thread, in seconds in which the
# process works, so that whatever else the machine does counts little; on a GPU in seconds that
# pass. Questions are those that are held out, asked after stage 1, so that drafts are mostly right.
# What was measured once is kept; delete the run's folder to have it measured again.

# %%
run = cost.CostRun.of(config)
measured = run.read(runs.get_or_create(run, config.folders.runs))
out.table("cost_measured", measured, digits=4)

# %% [markdown]
# ## Beside the usual way, the products, and GD
# *Ratio*: how many times ours the usual way takes; how many times its own matrix products, done
# alone and one after the other, a step of stage 1 takes; how many times GD's memory, above that of
# the network, other methods hold.

# %%
ratios = cost.ratios(measured)
out.table("cost", ratios)

# %%
faster = ratios[ratios.against == cost.USUAL]
Markdown(
    f"{config.models[0]}, against the usual way: "
    + "; ".join(f"{line.thing.partition(':')[0]} {line.ratio:.1f}" for line in faster.itertuples())
    + ". For LLaVA-1.5's true shape, with random weights: `remem bench --size 7b`."
)
