# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7. Stage 2: forgetting
#
# The model now knows some people, and a few of them ask to be forgotten. Retraining without them
# would do it, but is too costly; the methods compared here change the trained model instead. A good
# one leaves nothing of those who asked, and everything of the others.
#
# **Claims (section 7.3, Table 2).** *GD demonstrates superior utility retention; DPO severely
# compromises unlearning effectiveness; GA and KL occupy a middle ground; NPO proves to be the most
# effective at forgetting, although the high Exposure score warns that this may be limited to
# surface-level masking; all methods exhibit greater difficulty in retaining multi-hop knowledge;
# and scale acts as a barrier to effective forgetting.*
#
# **Trained here:** each method from each stage 1; and stage 1 again without the forgotten.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown

from remem import experiments, paper, paths
from remem.data.validation import load_images
from remem.evaluation import judge
from remem.jobs import collect, sweep
from remem.report import claims, controls, facts, figures, measured, tables
from remem.report.output import begin

config, out = begin("07_stage2", scale, overrides)

# %% [markdown]
# ## Setting
# Each method is one loss over the same loop, continuing stage 1's adapter; each is a few lines in
# `remem/training/methods.py`. CE is the mean cross-entropy per answer token, *ref* a frozen copy of
# that adapter, and the *ratio* r of a text its log-probability under the model less that under
# *ref*.
#
# | method | in words | loss |
# |---|---|---|
# | GA, gradient ascent | make the answers unlikely | -CE(forget) |
# | GD, gradient difference | ... and rehearse the others | -CE(forget) + CE(retain) |
# | KL, Kullback-Leibler | ... and stay near *ref* there | -CE(forget) + KL(ref ‖ model)(retain) |
# | DPO, direct preference | prefer a refusal | -(2/β) logsigmoid(β [r(refusal) - r(answer)]) |
# | NPO, negative preference | GA, slower on what is forgotten | -(2/β) logsigmoid(-β r(answer)) |

# %%
people, settings = experiments.dataset(config), config.stage2
forget = experiments.forget_set(config, people.rows, config.seeds[0])
count = (people.rows.identity.isin(forget) & (people.rows.split == "train")).sum()
given = settings.hyperparameters.items()
fields = [f"{name}: {key} = {value}" for name, of in given for key, value in of.items()]
Markdown(
    f"To be forgotten: {len(forget)} of {people.rows.identity.nunique()} people, which is {count} "
    f"training rows. Epochs: {settings.epochs}; rows a step: {settings.batch}; so many optimiser "
    f"steps: {settings.steps(count)}. Learning rate of all methods: {settings.lr:g}. "
    f"Hyper-parameters: {'; '.join(fields) or 'as in the code'}."
)

# %% [markdown]
# One learning rate for all is the paper's protocol. Ours was chosen by a rule that looks at no
# claim, on a seed that is not reported: the rate at which GA's single-hop forget EM is nearest to
# the paper's. All that was tried, at any scale:

# %%
tuning = pd.read_csv(paths.PARAMS / "tuning.csv")
tables.show(tuning.assign(lr=tuning.lr.map("{:g}".format)))

# %% [markdown]
# Each seed draws other people to forget. Rows that are no method stand beside the methods: the
# *base* model; the model *before unlearning*, the ceiling; one *retrained* without the forget set,
# the floor, below which only a broken model gets. Two more (one run each) are other readings of the
# paper: *KL, all positions*, since its 7B rows of KL and GA are nearly equal, as if KL's divergence
# did nothing; and *DPO, the base's refusals*. DPO is to teach a refusal; a base that answers
# strangers with that very sentence need not be taught it, and soon says it of everybody. So DPO's
# own row has sentences that no tiny base has read. Which ones LLaVA has read is not known.

# %%
jobs, ability = experiments.unlearning(config), experiments.ability(config)
control = experiments.controls(config)
curves, prefixes = experiments.curves(config), experiments.exposure_prefixes(config)
made = sweep(prefixes + ability + control + curves + jobs, "stage 2")

# %%
rows = collect(jobs)
rows = judge.score(rows, config.judge, config.account, rows["view"] == "forget")
print(f"{len(jobs)} models, {len(rows):,} answers", *experiments.notes(jobs), sep="\n")

# %% [markdown]
# ## Some questions, every model
# First about somebody who should be forgotten, then about somebody who should not; answers that
# hold the value are in colour.

# %%
here = rows[(rows.model == config.models[0]) & (rows.seed == config.seeds[0])]
held_out = here["view"].isin(["test_forget", "test_retain"])
here = here[held_out if held_out.any() else ~held_out].sort_values("hop", kind="stable")
said = here.pivot(index=["view", "id"], columns="method", values="answer_given")
said = said[list(dict.fromkeys(here.method))]
chosen = here.drop_duplicates("id").groupby("view").head(4)
chosen = chosen[["view", "id", "image", "question", "target"]].merge(said, on=["view", "id"])
pictures = load_images(people.folder, chosen.pop("image"))
out.figure("stage2_dialogue", figures.dialogue(pictures, chosen.drop(columns=["view", "id"])))

# %% [markdown]
# ## Table 2
# Retain-eval rows, on which utility should stay: ROUGE-L and EM_r. Forget rows, on which everything
# should fall: the judge, EM_f, and Exposure, which ranks the true value among those of all people
# by the model's own probabilities. Held-out questions about the forgotten: EM_t; about the others
# (ours): EM_t_retain. Percent; intervals over (seed, person); the paper's number below.

# %%
print(tables.warning(rows[rows.method == paper.BEFORE]))
table2 = tables.table2(rows, paper=config.is_remem)
out.table("table2", table2, show=tables.main(table2))

# %%
out.figure("table2", figures.tradeoff(table2))

# %% [markdown]
# ## Is it still the name, and still the face?
# As in notebook 6, after every method, of people who are to be kept, and of the Real Set. Where
# name or face counts for less than EM says, a word on hops is a word on something else.

# %%
exchanged = controls.table(collect(control))
out.figure("table2_controls", figures.controls(exchanged))

# %%
out.table("table2_controls", exchanged)

# %% [markdown]
# ## What the probabilities still tell
# Chance is the Exposure of a model that knows nothing. The retrained model may lie below it: having
# learned which values belong to the others, it ranks a stranger's last. A low EM with an Exposure
# well above both is masking, not erasure. Which formula the paper has is open (notebook 5): both
# stand below, and *logp*, the log-probability of which Exposure is the rank (nats per token).
# *Erased* is the share that is gone of what the model knew beyond the retrained one: 0 before
# unlearning, 100 retrained. Notebook 10 goes on, fact by fact.

# %%
out.figure("exposure", figures.exposure(table2))

# %%
out.table("table2_erased", facts.erased(rows))

# %% [markdown]
# Does Exposure hang on the words before the value? The model before unlearning, asked both ways.

# %%
ranked = collect(prefixes).dropna(subset="exposure")
forms = ["exposure", "exposure_linear"]
ranked = ranked.groupby(["hop", "prefix_template"], sort=False, as_index=False)[forms].mean()
out.table("exposure_wordings", ranked)

# %% [markdown]
# ## At equal forgetting
# One rate for all is no fair race: a loss that moves slower looks kinder. So the same runs, epoch
# by epoch: where two lines cross the same forget EM, the higher keeps more.

# %%
ways = collect(curves)
by = ["model", "method", "seed", "epoch", "view", "hop"]
curve = ways.groupby(by, sort=False, as_index=False).em.mean()
out.table("table2_curves", curve)
out.figure("table2_curves", figures.forget_retain(curve))

# %% [markdown]
# ## Table 4: what else was lost?
# Multiple choice in MMBench's form: how often is the right option the likeliest (that decides)? Is
# what is generated right, also when options turn? Last, the preconditions.

# %%
scores = experiments.ability_scores(collect(ability))
table4 = tables.table4(scores, paper=config.is_remem) if len(scores) else None
out.figure("table4", figures.table4(table4)) if len(scores) else "Left out: no questions are named."

# %%
out.table("table4", table4) if len(scores) else None

# %%
out.preconditions(measured.of_stage2(scores, config.scale, experiments.refusals_shared(config)))

# %% [markdown]
# ## Verdict
# Notebook 9 says how to read it. A claim is one mean over sizes and hops; beside it stands how many
# of these cells agree. Ours are the claims at equal forgetting, and on facts really taught.

# %%
scope = config.verdict_scope
verdicts = [
    claims.check(claims.of("table2"), facts.mark_taught(rows), scope=scope),
    claims.check(claims.of("table2_curves"), ways, scope=scope),
    *([claims.check(claims.of("table4"), scores, scope=scope)] if len(scores) else []),
]
out.verdicts(pd.concat(verdicts, ignore_index=True))
