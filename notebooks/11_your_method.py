# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11. A method of your own, and a metric
#
# A new method of unlearning is a loss, and a loss is a few lines. This notebook writes one, puts it
# beside the paper's five in the format of its Table 2, and then adds a column of its own. Copy it,
# change the class, and run it.
#
# The example is **SimNPO** (Fan et al. 2024, *Simplicity Prevails*). NPO compares the model with a
# frozen copy from before unlearning, the *reference*. SimNPO does without, and divides by the
# number of tokens |y| of the answer y, so that long answers do not weigh more:
#
#     -(2/beta) mean logsigmoid(-(beta/|y|) log p(y) - gamma)
#
# **Claims.** None is the paper's: it has no SimNPO. Two of our own stand at the end, written down
# before the run.
#
# **Trained here:** the new method, for one model and one seed.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd
from torch.nn.functional import logsigmoid

from remem import experiments, metrics, paper, runs
from remem.evaluation import judge
from remem.jobs import collect
from remem.report import claims, figures, tables
from remem.report.claims import Claim
from remem.report.contrasts import Contrast, Side, above
from remem.report.output import begin
from remem.training.methods import Method

config, out = begin("11_your_method", scale, overrides)


# %% [markdown]
# ## The method
# The annotated attributes are its hyper-parameters. `loss` asks `scores` for the rows of one
# optimiser step, by the name of a part: `"forget"`, `"retain"` or `"refusal"`. Of each row it gets
# the log-probability of the answer (`sequence()`), the number of its tokens (`lengths()`) and more:
# `docs/method.md` has the list. `row_mean` is the mean over the whole step, also where memory holds
# only a part of it at once.


# %%
class SimNPO(Method):
    """Negative preference without a reference, per token of the answer (Fan et al. 2024)."""

    beta: float = 2.5
    gamma: float = 0.0

    def loss(self, scores):
        """-(2/beta) mean log sigmoid(-beta log p(answer) / |answer| - gamma)."""
        answer = scores("forget")
        margin = -self.beta * answer.sequence() / answer.lengths() - self.gamma
        return -2 / self.beta * answer.row_mean(logsigmoid(margin))


# %% [markdown]
# ## Beside the five
# One model and one seed, so that it takes minutes. What notebook 7 has made already is found done;
# only the new method is trained. Take the two limits away for the whole of Table 2.

# %%
methods = [SimNPO(), *config.stage2.methods]
one = {"models": config.models[:1], "seeds": config.seeds[:1]}
jobs = experiments.unlearning(config, methods=methods, **one)
rows = collect(jobs, "methods")
rows = judge.score(rows, config.judge, config.account, rows["view"] == "forget")
print(tables.warning(rows[rows.method == paper.BEFORE]))
table = tables.table2(rows, paper=config.is_remem)
out.table("your_method", table)

# %% [markdown]
# Left is better, and up is better. All methods have one learning rate, as in the paper. That is no
# fair race: a loss that moves slower forgets less and looks kinder.

# %%
out.figure("your_method", figures.tradeoff(table))

# %% [markdown]
# ## What to change, and what is then run again
# A run is named after all that its result depends on. Of a method that is its name, its fields and
# its source, so a result can never be that of an earlier loss. Change a line of `loss`, run this
# notebook again, and SimNPO alone is trained anew. Comments, docstrings and layout do not count.
# Another value of a field is another run, beside the first:

# %%
others = [SimNPO(), SimNPO(beta=1.0), "NPO"]
planned = experiments.unlearning(config, methods=others, **one).training()  # nothing is run
named = [{"method": job.labels["method"], "run": runs.name(job.spec)} for job in planned]
tables.show(pd.DataFrame(named))

# %% [markdown]
# Answers are kept apart from training, and scores are computed whenever answers are read. So a
# longer answer is asked for without training, and a new metric costs neither.
#
# ## A metric of your own
# It is a column: one number from 0 to 1 for each answer. Here, whether the model declines. `more`
# says what Table 2 is to call it, and over which rows it is a mean: those to forget. A model that
# declines has not forgotten, it has learned to keep silent; and one that tells nonsense, with no
# refusal and no right answer, is broken.

# %%
rows["refused"] = rows["answer_given"].map(metrics.refuses).astype(float)
more = tables.table2(rows, paper=config.is_remem, more={"Refusals": ("forget", "refused")})
columns = ["Refusals", "Refusals_lo", "Refusals_hi"]
out.table("your_metric", more[["model", "method", "hop", "EM_f", *columns]])

# %% [markdown]
# ## Verdict
# Does SimNPO keep more than NPO, and does it forget more? A claim is a comparison between rows of
# Table 2, here the mean over both hops; less than 5 points either way is too little to matter. The
# units are the people, retained or forgotten, of one trained network. Where they are too few,
# nothing can be told; and even what holds here says nothing of other seeds.

# %%
size = paper.counterpart(config.models[0])
pairs = [(f"{size}/SimNPO/{hop}", f"{size}/NPO/{hop}") for hop in paper.HOPS]
keeps = Side("SimNPO - NPO", tuple(Contrast("EM_r", mine, (npo,)) for mine, npo in pairs))
forgets = Side("NPO - SimNPO", tuple(Contrast("EM_f", npo, (mine,)) for mine, npo in pairs))
mine = [
    Claim("simnpo-keeps", "table2", "ours", "SimNPO has a higher retain EM than NPO", above(keeps)),
    Claim(
        "simnpo-forgets", "table2", "ours", "SimNPO has a lower forget EM than NPO", above(forgets)
    ),
]
out.verdicts(claims.check(mine, rows, scope=config.verdict_scope))
