# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9. The scorecard
#
# Every claim of the paper on one page, in its order: whether the paper's own numbers bear it out,
# what came out here, and the verdict. Nothing is computed anew: the verdicts are read from the
# files that the notebooks before this one wrote.
#
# **Claim (section 8).** *ReMem ensures robust foundational learning and provides a comprehensive
# analysis of various unlearning algorithms, highlighting the critical trade-off between model
# utility and forget quality.*
#
# **Trained here:** nothing.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown

from remem import metrics
from remem.report import claims, figures, tables
from remem.report.output import begin
from remem.report.verdicts import WORDS, Verdicts, of_notebooks, preconditions, word

config, out = begin("09_scorecard", scale, overrides)

# %% [markdown]
# ## How to read a verdict
# A claim is one comparison, the mean over the sizes, hops and methods that its sentence speaks of,
# with a margin. All of it was written down before the run; `docs/verdicts.md` has every rule.
#
# - **holds**: the 95 % interval lies above 0, or above the margin where the sentence says *much*,
#   or within the margin where it says *alike*. **reversed**: it lies below 0, the other way round.
#   **smaller than the margin**: too little to matter. **cannot be told**: the interval is too wide,
#   there are too few units, only the offline rule has given a GPT score, or a **precondition** is
#   missed, which is then named: a fact about LLaVA or the paper's set-up that the world has to have
#   before any number from it says something of the claim.
# - *Highest* and *between* are worth what the nearest rival leaves of them. How many of the cells
#   behind a mean agree is told beside it, and decides nothing.
# - A unit is one person under one run; intervals speak of new people and new runs, where there was
#   more than one run. `p_adjusted` allows for there being so many claims.
# - *In the tiny world* is said of small networks that were trained here from nothing; only a run of
#   the paper's models can say *reproduced*. A claim that is reversed in the tiny world may be true
#   of LLaVA, and one that holds may be false of it.
# - *Paper bears out*: whether the paper's printed numbers show what its text says, as point
#   estimates, for it prints no intervals. "Not in the paper" is said of what it only draws.
# - Sections that begin with *ours* hold what the paper does not say: its own claims under a control
#   (equal updates, equal forgetting, several people, held-out questions, facts that were taught),
#   or one of its numbers put into words.

# %%
scorecard = claims.scorecard(of_notebooks(out.folders), preconditions(out.folders))
ran = scorecard[scorecard.notebook != ""]
Markdown(
    f"{len(ran)} of {len(scorecard)} claims were put to the test, by "
    f"{', '.join(ran.notebook.unique()) or 'no notebook yet'}. An interval needs at least "
    f"{metrics.FEWEST} units."
)

# %%
out.figure("scorecard", figures.scorecard(scorecard))

# %% [markdown]
# ## Counted
# The paper's own claims and ours apart, and each by whether the paper's numbers bear it out.

# %%
whose = scorecard.section.str.startswith("ours").map({False: "the paper's", True: "ours"})
words = pd.Categorical(scorecard.verdict.map(word), WORDS)
rows = [whose.rename("claims"), scorecard["paper bears out"]]
tables.show(pd.crosstab(rows, words).rename_axis(columns=None).reset_index())

# %% [markdown]
# ## What changed since 0.2
# Under 0.2 a claim was a conjunction: every cell had to hold by itself, and one that failed was
# enough. So a verdict can differ because of the *rule*, because a *precondition* is asked for now,
# or because the *world* is another one: then 0.2's rule gives another word on today's numbers too.

# %%
changes = claims.changes(scorecard)
out.table("verdict_changes", changes, show=changes[changes.reason != ""])

# %% [markdown]
# ## Every number
# `ours`, with its interval `lo` to `hi`, is of the comparison that is named; `paper` is the same in
# the paper.

# %%
out.table("scorecard", scorecard, digits=2)

# %% [markdown]
# ## What the source text does not contain
# All of this rests on the paper's text. It lacks the following, so that nothing here is compared
# with it; what was assumed in its place is listed in notebook 5.
#
# - The curves and points of Figures 1 to 3 and 5 to 7: only what the text says about them.
#   Figure 4 is not even mentioned.
# - Tables 6 to 8, among them the judge's prompt; the appendix on the generated images; the column
#   heads of Table 1; equation 1 (Exposure).
# - The Real Set's names and numbers; the image or question counts of Figures 3a to 3c beyond their
#   ranges; which size of the model Figures 1 and 3 are about.
# - How EM matches; seeds, LoRA's targets, the schedule, the refusals of DPO, beta; any interval.
#
# ## Verdict
# The paper's own claims; ours stand above.

# %%
Verdicts(ran[~ran.section.str.startswith("ours")], about="claims of the paper")
