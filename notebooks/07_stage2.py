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
# The model now knows twenty people. Four of them ask to be forgotten. Retraining without them would
# do it and is what nobody can afford; the five methods compared here change the trained model
# instead. A good one leaves nothing of the four and everything of the other sixteen.
#
# **Claims (section 7.3, Table 2).** *GD demonstrates superior utility retention; DPO severely
# compromises unlearning effectiveness; GA and KL occupy a middle ground; NPO proves to be the most
# effective at forgetting, although the high Exposure score warns that this may be limited to
# surface-level masking; all methods exhibit greater difficulty in retaining multi-hop knowledge;
# and scale acts as a barrier to effective forgetting.*

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

from remem import benchmarks, claims, figures, params, paths, predict, runs, tables, train, unlearn
from remem import dataset as data  # `dataset` and `judge` are parameters
from remem import judge as judging

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate, experiments=experiments,
                judge=judge, benchmark=benchmark, construction=construction)
folders = paths.outputs(p.scale)
people = data.read(data.make(p.dataset, folders.runs))

# %% [markdown]
# ## Setting
# Each method is one loss over the same loop (`remem/unlearn.py`), continuing stage 1's adapter. CE
# is the mean cross-entropy per answer token, *ref* a frozen copy of that adapter, and the *ratio*
# r of a text its log-probability under the model less that under *ref*; β is 0.1.
#
# | method | in words | loss |
# |---|---|---|
# | GA, gradient ascent | make the answers unlikely | -CE(forget) |
# | GD, gradient difference | ... and rehearse the others | -CE(forget) + CE(retain) |
# | KL, Kullback-Leibler | ... and stay near *ref* there | -CE(forget) + KL(ref ‖ model)(retain) |
# | DPO, direct preference | prefer a refusal | -(2/β) log σ(β [r(refusal) - r(answer)]) |
# | NPO, negative preference | GA that slows on what is forgotten | -(2/β) log σ(-β r(answer)) |
#
# Five epochs over 400 rows, 64 a step: 35 steps, at one learning rate for all, as in the paper. A
# rule that looks at no claim chose it on the tuning seed 0: GA's single-hop forget EM nearest to
# the paper's. The log:

# %%
tuning = pd.read_csv(paths.PARAMS / "tuning.csv")
tables.show(tuning.assign(lr=tuning.lr.map("{:g}".format)))

# %% [markdown]
# Each seed draws other people to forget. Rows that are no method stand beside the five: the
# untaught *base*; the model *before unlearning*, the ceiling; one *retrained* without the forget
# set, the floor, below which only a broken model gets. *KL, all positions* (one run) is another
# reading of the paper, whose 7B rows of KL and GA are nearly equal, as if KL's divergence did
# nothing.

# %%
cells = unlearn.cells(p, people)
able = benchmarks.cells(p, cells)  # Table 4's: now, since a file that is not there stops it
done = runs.sweep([(cell.target, cell.spec) for cell in cells], folders.runs, p.workers, "stage 2")
rows = pd.concat([
    data.evaluated(pd.read_parquet(folder / "predictions.parquet"), cell.forget)
    .assign(model=cell.model, method=cell.method, seed=cell.seed)
    for cell, folder in zip(cells, done, strict=True)
], ignore_index=True)
rows = judging.score(rows, p.judge, folders.judge, rows["view"] == "forget")
print(f"{len(done)} runs, {len(rows):,} answers")

# %% [markdown]
# ## Some questions, every model
# First about somebody who should be forgotten, then about somebody who should not; answers that
# hold the value are blue.

# %%
here = rows[(rows.model == p.models[0]) & (rows.seed == p.seeds[0])]
held_out = here["view"].isin(["test_forget", "test_retain"])
here = here[held_out if held_out.any() else ~held_out].sort_values("hop", kind="stable")
said = here.pivot(index=["view", "id"], columns="method", values="answer_given")
asked = here.drop_duplicates("id").groupby("view").head(4)
asked = asked[["view", "id", "image", "question", "target"]].merge(
    said[list(dict.fromkeys(here.method))], on=["view", "id"])
dialogue = figures.dialogue(data.load_images(data.make(p.dataset, folders.runs), asked.image),
                            asked.drop(columns=["view", "id", "image"]))
paths.save_figure(dialogue, folders.figures / "stage2_dialogue")
dialogue

# %% [markdown]
# ## Table 2
# Retain-eval rows, on which utility should stay: ROUGE-L and EM_r. Forget rows, on which everything
# should fall: the judge, EM_f, and Exposure, which ranks the true value among those of all twenty
# people by the model's own probabilities. Held-out questions about the forgotten: EM_t; about the
# others (ours): EM_t_retain. Percent; intervals over (seed, person); the paper's number below.

# %%
print(tables.warning(rows[rows.method == claims.BEFORE]))
table2 = tables.table2(rows, form=p.evaluate.form, paper=p.taught == tables.REMEM)
paths.write(folders.tables / "table2.csv", table2.to_csv(index=False))
tables.show(table2)

# %%
tradeoff = figures.tradeoff(table2)
paths.save_figure(tradeoff, folders.figures / "table2")
tradeoff

# %% [markdown]
# ## What the probabilities still tell
# Chance is the Exposure of a model that knows nothing. The retrained model may lie below it: having
# learned which values belong to the others, it ranks a stranger's last. A low EM with an Exposure
# well above both is masking, not erasure.

# %%
exposure = figures.exposure(table2)
paths.save_figure(exposure, folders.figures / "exposure")
exposure

# %%
by_attribute = tables.by_attribute(rows)
paths.write(folders.tables / "table2_by_attribute.csv", by_attribute.to_csv(index=False))
by_attribute.pivot_table(index=["attribute", "hop"], columns=["model", "method"], values="EM_f",
                         sort=False).round(0)

# %% [markdown]
# Does Exposure hang on the words before the value? The model before unlearning, asked both ways.

# %%
_, forget, start = next((c.method, c.forget, c.spec) for c in cells if c.method == claims.BEFORE)
base, everything, features = train.world(start, folders.runs)
wordings = predict.wordings(base, runs.folder(start, folders.runs) / "adapter",
                            start.base.network.dtype, data.views(everything, forget)["forget"],
                            features, data.candidates(everything), p.evaluate)
paths.write(folders.tables / "exposure_wordings.csv", wordings.to_csv(index=False))
tables.show(wordings)

# %% [markdown]
# ## At equal forgetting
# One rate for all is the paper's protocol, not a fair race: a loss that moves slower looks kinder.
# So the same runs, epoch by epoch: where two lines cross the same forget EM, the higher keeps more.

# %%
curve = pd.concat([
    pd.read_csv(folder / "curve.csv").assign(model=cell.model, method=cell.method, seed=cell.seed)
    for cell, folder in zip(cells, done, strict=True) if cell.method in p.stage2.methods
])
paths.write(folders.tables / "table2_curves.csv", curve.to_csv(index=False))
race = figures.forget_retain(curve)
paths.save_figure(race, folders.figures / "table2_curves")
race

# %% [markdown]
# ## Table 4: what else was lost?
# General ability, by MMBench's multiple choice: the share of right answers (plain), and of
# questions that stay right however the options are turned round (circular). At scale tiny the
# questions are about drawn strangers' looks, in MMBench's own format. *Base* was taught nobody, and
# is what the paper compares with; *before unlearning* shows how much of the loss is stage 1's
# already.

# %%
answered = [pd.read_parquet(folder / "predictions.parquet") for folder in runs.sweep(
    [("remem.benchmarks:run", spec) for *_, spec in able], folders.runs, p.workers, "ability")]
ability = [benchmarks.scored(each).assign(model=model, method=method, seed=seed)
           for (model, method, seed, _), each in zip(able, answered, strict=True)]
ability += [benchmarks.chance(answered[0]).assign(model=model, method=tables.CHANCE, seed=seed)
            for model, seed in dict.fromkeys((cell.model, cell.seed) for cell in cells)]
ability = pd.concat(ability, ignore_index=True)
table4 = tables.table4(ability, paper=p.taught == tables.REMEM)
paths.write(folders.tables / "table4.csv", table4.to_csv(index=False))
paths.save_figure(figures.table4(table4), folders.figures / "table4")
figures.table4(table4)

# %%
tables.show(table4)

# %% [markdown]
# ## Verdict
# How to read it, notebook 6 says at its end. Most claims are many comparisons at once (each method,
# size and hop), so that one that fails is enough for "does not hold"; `weakest` names it.

# %%
verdict = pd.concat([claims.check(claims.of("table2"), rows, scale=p.world),
                     claims.check(claims.of("table4"), ability, scale=p.world)])
paths.write(folders.verdicts / "07_stage2.csv", verdict.to_csv(index=False))
tables.show(verdict)
