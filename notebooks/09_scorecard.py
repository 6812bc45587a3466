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

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown

from remem import metrics
from remem.report import claims, figures, tables
from remem.report.output import begin
from remem.report.verdicts import Verdicts

config, out = begin("09_scorecard", scale, overrides)

# %% [markdown]
# ## How to read a verdict
# A claim is a set of comparisons, each with a margin that was written down before the run.
#
# - **holds**: the 95 % interval of every comparison lies beyond its margin. **does not hold**: that
#   of one of them lies short of it, at a level that allows for their number. **cannot be told**:
#   anything else, such as too few units (a unit is one person under one seed; in Table 4, one
#   question), or a GPT score that only the offline rule has given: it decides nothing. **not run**:
#   no file has it.
# - The verdict on many comparisons at once is strict. The one shown is the weakest; where there are
#   many, its upper end is at the stricter level that "does not hold" asks for.
# - *In the tiny world* is said of small networks that were trained here from nothing; only a run of
#   the paper's models can say *reproduced*. A claim that fails in the tiny world may be true of
#   LLaVA, and one that holds may be false of it.
# - *Paper bears out*: whether the paper's printed numbers show what its text says, as point
#   estimates, for it prints no intervals. "Not in the paper" is said of what it only draws.
# - Sections that begin with *ours* hold what the paper does not say: its own claims under a control
#   (equal updates, several people, held-out questions), or one of its numbers put into words.
# - An interval speaks about these people, not about others. Where all seeds share one stage 1, it
#   is over the people of one trained network: another training may differ by more than it says.

# %%
found = {path.stem: pd.read_csv(path) for path in sorted(out.folders.verdicts.glob("*.csv"))}
scorecard = claims.scorecard(found)
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
rows = [whose.rename("claims"), scorecard["paper bears out"]]
tables.show(pd.crosstab(rows, scorecard.verdict.rename(None)).reset_index())

# %% [markdown]
# ## Every number
# `ours` with its interval `lo` to `hi` is the weakest comparison's, named beside it; `paper` is the
# same comparison in the paper.

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
