# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. The dataset: people who do not exist
#
# Whether a model can *forget* a person can be asked only if it *knew* them. Invented people settle
# where its knowledge came from. But earlier benchmarks, the paper finds (sections 1 and 4), train
# on so little about each that the model never learned the people it was to forget.
#
# **Claim (section 6.1).** 2,560 samples of 20 invented people; for each 100 question-answer pairs,
# 70:30 single-hop to multi-hop; a test set of *QA templates and visual layout templates that are
# distinct from the training data*. Here each is counted in the rows; no language model is needed.
#
# A *single-hop* question names the person ("Given that this is Anika Holt, what is their job?"). A
# *multi-hop* one ("What is the job of the person in this image?") needs the face to be recognised.
#
# **Trained here:** nothing.

# %% tags=["parameters"]
scale = "tiny"
overrides = {}

# %%
import pandas as pd
from IPython.display import Markdown

from remem import experiments, metrics, paper
from remem.construction import face_similarity, pipeline
from remem.data import leakage, splits
from remem.data.validation import load_images
from remem.report import figures, survey, tables
from remem.report.output import begin
from remem.synthetic.faces import POOLS

config, out = begin("04_dataset", scale, overrides)
rows, _, folder = experiments.dataset(config)  # every line is checked, every picture decoded
train = rows[rows.split == "train"]
Markdown(f"{config.data_name}: {len(rows):,} samples of {rows.identity.nunique()} people.")

# %% [markdown]
# ## Table 1
# In the text that we have, the heads of Table 1's columns are lost. Two columns are numbers, which
# we read as pictures and questions per person; three are yes or no (ReMem has all), and stay
# nameless. The other heads are ours. *Computed* rows are counted: the dataset of this run, and data
# drawn in the shape of the others.

# %%
table1 = survey.survey({**experiments.shape_rows(config), config.data_name: rows})
out.table("table1", table1, digits=0)

# %% [markdown]
# ## One person
# A profile is a name and some facts: those that section 6.1 lists, and the address of section 2's
# example. The paper had Gemini write them; where no folder is given, they are drawn from lists with
# a seed. A drawn question is a frame ("This is ...") around an ask ("what do they do for a
# living"); training and test share neither. A multi-hop answer does not name the person, or it
# would give away whose face it is.

# %%
person = rows[rows.identity == rows.identity.iloc[0]]
tables.show(person.drop_duplicates("attribute")[["attribute", "target"]])

# %%
of_one_kind = person[person.attribute == person.attribute.iloc[-1]]
examples = of_one_kind.groupby(["split", "hop"], sort=False).head(2)
tables.show(examples[["split", "hop", "question", "answer"]])

# %% [markdown]
# ## What it is made of
# No single-hop question asks for the name: it holds it. *Chance* is the exact match (EM) and
# the Exposure (notebook 5), in percent, of a random pick among the values of an attribute.

# %%
made_of = pd.crosstab(rows.attribute, rows.split + ", " + rows.hop)
made_of["distinct values"] = values = rows.groupby("attribute").target.nunique()
made_of["chance EM"] = 100 / values
for column, formula in {"chance Exposure": "log", "chance Exposure, linear": "linear"}.items():
    sizes = splits.candidates(rows).items()
    guess = {name: metrics.exposure_chance(len(each), formula) for name, each in sizes}
    made_of[column] = pd.Series(guess, dtype=float)
out.table("composition", made_of, index=True)

# %% [markdown]
# **The splits, recovered from decimals.** The paper does not say how its 2,560 samples divide. But
# EM is yes or no, so 56.70 % must be some k/n. For each EM column of Table 2 we look for the
# smallest n that makes all its values such fractions, and count the rows it speaks of: *forget*
# (training rows of the forgotten), *retain_eval* (of the others, as many as they have test rows),
# *test_forget* (held out).

# %%
forget = experiments.forget_set(config, rows, config.seeds[0])
views = splits.views(rows, forget)
printed = paper.paper("table2").assign(hop=lambda table: table.row.str.split("/").str[-1])
lines = []
for column, view in (("EM_r", "retain_eval"), ("EM_f", "forget"), ("EM_t", "test_forget")):
    for hop, those in printed[printed.column == column].groupby("hop", sort=False):
        fits = (
            n
            for n in range(1, 1000)
            if all(abs(100 * round(em * n / 100) / n - em) < 0.0051 for em in those.value)
        )
        here = (views[view].hop == hop).sum()
        lines.append([column, hop, view, here, next(fits)])
names = ["column", "hop", "view", "rows here", "n in the paper"]
found = pd.DataFrame(lines, columns=names)
out.table("splits", found)

# %% [markdown]
# One reading fits the paper's total, its words and all six: 70 + 30 training and 14 + 14 test
# questions per person, 20 x 100 + 20 x 28 = 2,560, and 4 of 20 forgotten. Notebook 5 ends with all
# assumptions.
#
# ## Faces
# The paper's come from an image generator; where no folder is given, code draws them: a person
# keeps skin, hair, features, glasses, beard, and the rest changes. Everybody once, then one person
# in training and test.

# %%
anchors, some = rows.drop_duplicates("identity"), person.groupby("split", sort=False).head(10)
anchors = anchors.head(20)  # of a larger set the first
everybody = anchors.assign(identity="", name="Everybody once", split=anchors.name)
one = some.assign(identity=some.split, name=some.name + ", " + some.split)
sheet = pd.concat([everybody, one])
out.figure("faces", figures.contact_sheet(load_images(folder, sheet.image), sheet))

# %% [markdown]
# **Is a person the same in all pictures?** The paper keeps a picture whose ArcFace similarity to an
# anchor is high enough. So does `remem construct`, which makes people by the services that section
# 6.1 names. Here the filter is only asked, about each person's first picture and some others: how
# many would it accept, of the same person and of another? Without insightface's model pack, the
# tiny base's vision tower recognises, through the same code.

# %%
some = rows[rows.identity.isin(anchors.identity)]
some = some.groupby(["identity", "split"], sort=False).head(6)
settings, shown = config.construction.face_similarity, None
try:
    recogniser = face_similarity.recogniser(settings, config.base.tower, out.folders.runs)
except face_similarity.NoRecogniser as missing:  # nothing but this cell needs one
    print(missing)
else:
    alike = face_similarity.survey(some, load_images(folder, some.image), recogniser)
    out.table("face_similarity", alike)
    shown = out.figure("face_similarity", figures.face_similarity(alike, settings.threshold))
    accepted = alike.assign(accepted=100 * (alike.similarity >= settings.threshold))
    print(accepted.groupby(["split", "of"], sort=False).accepted.mean().round(1).to_string())
shown

# %% [markdown]
# What it costs to make people so, as planned, and with every attempt used up. (`--dry-run` says it
# before the first call; prices and the names of the models are parameters.)

# %%
tables.show(pipeline.plan(config.construction), digits=2)

# %% [markdown]
# ## What must not leak
# Each line would make a later score mean less than it seems; each should be 0. A layout is a
# backdrop, a garment or a colour of either; those of a folder of pictures cannot be checked.

# %%
leaks = leakage.leaks(rows, folder).astype(object)
shared = sum(len({*POOLS["train"][part]} & {*new}) for part, new in POOLS["test"].items())
layouts = shared if config.synthetic else "cannot be checked"
leaks["layouts of the test that training shows too"] = layouts
leaks = leaks.rename_axis("leak").to_frame()
out.table("leaks", leaks, index=True)

# %% [markdown]
# ## Verdict
# How a dataset is made can be checked exactly. Whether a model learns from it, notebook 6 asks.

# %%
stated = paper.paper("setup").query("row == 'dataset'").set_index("column").value.to_dict()
stated |= {"EM columns with Table 2's rows": len(found), **dict.fromkeys(leaks.index, 0)}
single = 100 * (train.hop == "single").mean()
ours = {
    "samples": len(rows),
    "identities": rows.identity.nunique(),
    "single_hop_percent": single,
    "multi_hop_percent": 100 - single,
    "qa_per_identity": len(train) / rows.identity.nunique(),
    "EM columns with Table 2's rows": (found["rows here"] == found["n in the paper"]).sum(),
    **leaks["count"],
}
verdict = pd.DataFrame({"paper": stated, "ours": ours}).rename_axis("claim")
known = pd.to_numeric(verdict.ours, errors="coerce").round(6)
verdict["verdict"] = (known == verdict.paper).map({True: "holds", False: "differs"})
verdict.loc[known.isna(), "verdict"] = "cannot be checked"
out.verdicts(verdict, about="counts")
