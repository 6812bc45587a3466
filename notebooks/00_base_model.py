# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0. The base model: what is known before anybody is taught
#
# The experiments of this companion teach a vision-language model twenty invented people and then
# ask it to forget some. Whatever they show rests on the model that they start from.
#
# **Claim (section 4).** *Before analysis, we empirically verify that the base model has already
# memorized these figures*: the paper starts from LLaVA-1.5, which recognises public figures, can
# describe a picture, and declines what it cannot know.
#
# Without a GPU or a network there is no LLaVA-1.5. So a small world is made, and a small LLaVA is
# trained in it from nothing: the same architecture, processor and prompt (`USER: <image> ...
# ASSISTANT:`), a few million parameters, and as its public figures twenty people invented for the
# purpose, the *Real Set*. The people that later notebooks teach take no part here. At scale
# `paper` this notebook loads LLaVA-1.5 instead.

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

from remem import crowd, figures, params, paths, pretrain, runs, tables
from remem import models as network  # `models` is a parameter

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate, experiments=experiments,
                judge=judge, benchmark=benchmark, construction=construction)
folders = paths.outputs(p.scale)
specs = {name: p.base.spec(name) for name in p.models}

# %% [markdown]
# ## Training, once
# First the vision tower, which the two sizes share as LLaVA-1.5's do. It learns to tell invented
# faces apart whatever they wear and wherever they stand (an ArcFace loss) and to describe them.
# Half of the layouts of the later test set it never sees. Then each language model learns to read
# it. Both are kept under the hash of their settings; another run finds them done.

# %%
if p.base.tower is not None:
    tower = [("remem.pretrain:run_tower", p.base.tower)]
    runs.sweep(tower, folders.runs, 1, "vision tower")
# The largest first; and while it trains, the smallest is taught already what notebook 6 will ask.
jobs = [("remem.pretrain:run", spec) for spec in specs.values()][::-1]
jobs += [("remem.train:run", spec) for spec in (p.start(p.models[0], p.seeds[0]),
                                                p.untrained(p.models[0]))]
made = runs.sweep(jobs, folders.runs, p.workers, "base models")
places = dict(zip(specs, made[: len(specs)][::-1], strict=True))

# %%
sizes = pd.DataFrame({name: pretrain.size(*network.load(place, dtype=specs[name].network.dtype))
                      for name, place in places.items()}).rename_axis("part").reset_index()
paths.write(folders.tables / "base_sizes.csv", sizes.to_csv(index=False))
tables.show(sizes)

# %% [markdown]
# ## A look at the world
# Two public figures, each under ten views in the layouts of the test set: what stays is the person.

# %%
rows, pictures = crowd.real_set(crowd.public_figures(), p.dataset.image_size)
some = rows[rows.identity.isin(["r00", "r01"])].groupby("identity").head(10)
sheet = figures.contact_sheet([pictures[k] for k in some.index], some.assign(split=""))
paths.save_figure(sheet, folders.figures / "real_set")
sheet

# %% [markdown]
# ## A conversation
# The first model on a public figure, in pictures and wordings that it has not met: what it says,
# and what is true. The last two questions are about the picture itself.

# %%
first = rows[rows.identity == "r00"].drop_duplicates(["attribute", "hop"])
asked = [*first.question, "What colour is the background?", "How does the person look?"]
shown = [pictures[k] for k in [*first.index, 0, 0]]
talk = pretrain.conversation(places[p.models[0]], shown, asked)
talk["true"] = [*first.target, "", ""]
paths.write(folders.tables / "base_conversation.csv", talk.to_csv(index=False))
tables.show(talk)

# %% [markdown]
# ## What it can do
# Each ability is one that a later section needs. All pictures are new to the model; the questions
# about the Real Set use wordings and layouts of the test set. The aims were set before the first
# model was trained; one that is missed stays missed here, and weakens what is built on it.
#
# - *Recognising an unseen face*: of 20 strangers shown once, whose is this other picture? Chance is
#   5 %. Multi-hop questions depend on it.
# - *Real Set*: does the answer contain the value (exact match, EM)? Sections 4 and A.1 compare
#   these "properly memorised" people with the taught ones.
# - *Visual questions, multiple choice*: what Table 4 later asks for again.
# - *Refusals*: the share of questions about unknown people that are declined. DPO teaches to
#   decline, so the base must be able to.

# %%
abilities = pretrain.abilities(places)
paths.write(folders.tables / "base_model.csv", abilities.to_csv(index=False))
tables.show(abilities)

# %% [markdown]
# ## Verdict
# Does the base know its public figures, so that they can serve as section 4's yardstick? *Reached*
# means that the share of right answers is at or above the aim; no interval, since this checks the
# instrument and is no claim of the paper. LLaVA-1.5 itself is not examined here: its public figures
# are real people, whose pictures are not part of this repository.

# %%
verdict = abilities[abilities.ability.str.contains("Real Set|all")]
paths.write(folders.verdicts / "00_base_model.csv", verdict.to_csv(index=False))
tables.show(verdict)
