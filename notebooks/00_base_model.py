# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0. The base model: what does it know before stage 1?
#
# This companion trains a vision-language model on invented people, and then makes it forget some of
# them. Whatever it shows rests on the model that it starts from.
#
# **Claim (section 4).** *Before analysis, we empirically verify that the base model has already
# memorized these figures*: the paper starts from LLaVA-1.5, which recognises public figures, can
# describe a picture, and declines what it cannot know.
#
# Without a GPU or a network there is no LLaVA-1.5. So a small LLaVA was trained from nothing:
# the same architecture, processor and prompt (`USER: <image> ... ASSISTANT:`), and far fewer
# parameters. Its public figures, the *Real Set*, are invented too; the people of the later
# notebooks take no part here. At scale `paper` this notebook loads LLaVA-1.5 instead.
#
# **Trained here:** nothing where the base models come with the repository; else these first.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd

from remem import experiments, paper
from remem.evaluation import base_abilities
from remem.jobs import collect, sweep
from remem.model import loading
from remem.report import controls, figures, measured
from remem.report.output import begin
from remem.synthetic import people
from remem.training import corpus

config, out = begin("00_base_model", scale, overrides)

# %% [markdown]
# ## Training, once
# First the vision tower, which all sizes share, as LLaVA-1.5's do. It learns to tell invented faces
# apart, whatever they wear and wherever they stand (an ArcFace loss), and to describe them. Some
# layouts of the later test set it never sees. Then each language model learns to read it.
#
# Rounding differs between processors, and with it a trained network and every number after it. So
# the models of scale `tiny` come with the repository, and with its settings nothing is trained
# here. `make base` trains them from nothing and says how the two compare;
# `params/base_trials.csv` says what else was tried.

# %%
sweep(experiments.base_models(config), "base models")
places = experiments.places(config)

# %%
sizes = {
    name: base_abilities.size(loading.load(place, dtype=config.base.networks[name].dtype))
    for name, place in places.items()
}
out.table("base_sizes", pd.DataFrame(sizes).rename_axis("part").reset_index())

# %% [markdown]
# ## What the pictures look like
# Two public figures, each in several pictures in the layouts of the test set: what stays is the
# person.

# %%
rows, pictures = corpus.real_set(people.public_figures(), config.dataset.image_size)
some = rows[rows.identity.isin(["r00", "r01"])].groupby("identity").head(10)
sheet = figures.contact_sheet([pictures[k] for k in some.index], some.assign(split=""))
out.figure("real_set", sheet)

# %% [markdown]
# ## A conversation
# The first model is asked about a public figure, with pictures and wordings that it has not met. In
# the last column stands what is true. The last two questions are about the picture itself.

# %%
first = rows[rows.identity == "r00"].drop_duplicates(["attribute", "hop"])
questions = [*first.question, "What colour is the background?", "How does the person look?"]
shown = [pictures[k] for k in [*first.index, 0, 0]]
talk = base_abilities.conversation(places[config.models[0]], shown, questions)
talk["true"] = [*first.target, "", ""]
out.table("base_conversation", talk)

# %% [markdown]
# ## What it can do
# Each ability is one that a later section needs. All pictures are new to the model; the questions
# about the Real Set use wordings and layouts of the test set. The aims were set before the first
# model was trained; one that is missed stays missed here, and weakens what is built on it.
#
# - *Recognising an unseen face*: some strangers are shown once; which of them is on another
#   picture? Multi-hop questions depend on it.
# - *Real Set*: does the answer contain the value (exact match, EM)? Sections 4 and A.1 compare
#   these "properly memorised" people with those of stage 1.
# - *Visual questions, multiple choice*: what Table 4 later asks for again.
# - *Refusals*: the share of questions about unknown people that are declined. LLaVA mostly guesses;
#   a base that declines everybody would have nothing for DPO to teach.

# %%
abilities = base_abilities.abilities(places)
out.table("base_model", abilities)

# %% [markdown]
# ## Preconditions
# What has to be true of the base before a claim may be looked at. The aims are ours, argued from
# the paper, and are no claim of it; notebooks 1, 6 and 7 add theirs. A claim that needs one that
# is missed cannot be told.
#
# A single-hop question names a person: beside *another's picture*, or without one, the answer
# should stay. A multi-hop question names nobody: with another's picture it should follow the face.

# %%
asked = collect(experiments.controls(config, only=[paper.BASE]))
answers = collect(experiments.memorising(config, [paper.BASE]))
out.table("base_controls", controls.table(asked))

# %%
out.preconditions(measured.of_base(asked, answers, abilities))

# %% [markdown]
# ## Verdict
# Does the base know its public figures, so that they can serve as section 4's yardstick? *Reached*
# means that the share of right answers is at or above the aim. There is no interval: this checks
# the instrument and is no claim of the paper. LLaVA-1.5 itself is not examined here, since its
# public figures are real people, whose pictures are not part of this repository.

# %%
out.verdicts(abilities[abilities.ability.str.contains("Real Set|all")], about="abilities")
