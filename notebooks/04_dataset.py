# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. The dataset: twenty people who do not exist
#
# Whether a model can *forget* a person can be asked only if it *knew* them. Invented people settle
# where its knowledge came from; but earlier benchmarks, the paper finds (sections 1 and 4), taught
# so little of each that the model never learned whom it was to forget.
#
# **Claim (section 6.1).** 2,560 samples of 20 invented people; for each 100 question-answer pairs,
# 70:30 single-hop to multi-hop; a test set of *QA templates and visual layout templates that are
# distinct from the training data*. Here each is counted in the rows; no model is needed.
#
# A *single-hop* question names the person ("Given that this is Anika Holt, what is their job?"); a
# *multi-hop* one ("What is the job of the person in this image?") has the face recognised first.

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

from remem import (
    benchmarks,
    claims,
    construct,
    figures,
    images,
    lessons,
    likeness,
    metrics,
    params,
    paths,
    pretrain,
    tables,
)
from remem import dataset as data  # `dataset` is a parameter

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate, experiments=experiments,
                judge=judge, benchmark=benchmark, construction=construction)
folders = paths.outputs(p.scale)
folder = data.make(p.dataset, folders.runs)  # at smoke scale smaller than the paper's
rows = data.read(folder)  # checks every line, and decodes every picture
train = rows[rows.split == "train"]
print(f"{len(rows):,} samples of {rows.identity.nunique()} people")

# %% [markdown]
# ## Table 1
# In the text that we have, the heads of Table 1's columns are lost: two are numbers, which we read
# as pictures and questions per person; three are yes or no (ReMem has all), and stay nameless. The
# other heads are ours. *Computed* rows are counted: ReMem here, and data made in the others' shape.

# %%
made = {f"{each.label['benchmark']}'s shape": each.spec for each in lessons.diagnosis(p)
        if each.label["benchmark"] != p.taught}
made = {name: spec.asked(data.read(data.make(spec.dataset, folders.runs)))
        for name, spec in made.items()}
table1 = benchmarks.survey({**made, p.taught: rows})
paths.write(folders.tables / "table1.csv", table1.to_csv(index=False))
tables.show(table1, digits=0)

# %% [markdown]
# ## One person
# A profile is a name and seven facts: those that section 6.1 lists, and the address of section 2's
# example. The paper had Gemini write them; ours are drawn from lists, with a seed. A question is a
# frame ("This is ...") around an ask ("what do they do for a living"); training and test share
# neither. A multi-hop answer does not name the person, or it would teach which face has which name.

# %%
person = rows[rows.identity == rows.identity.iloc[0]]
print(person.drop_duplicates("attribute")[["attribute", "target"]].to_string(index=False))
examples = person[person.attribute == "job"].groupby(["split", "hop"], sort=False).head(2)
tables.show(examples[["split", "hop", "question", "answer"]])

# %% [markdown]
# ## What it is made of
# Nobody is asked for a name single-hop: the question holds it. *Chance* is the exact match (EM) and
# the Exposure (notebook 5), in percent, of a random pick among the values of an attribute.

# %%
made_of = pd.crosstab(rows.attribute, rows.split + ", " + rows.hop)
made_of["distinct values"] = values = rows.groupby("attribute").target.nunique()
made_of["chance EM"] = 100 / values
made_of["chance Exposure"] = pd.Series({
    name: metrics.exposure_chance(len(each), p.evaluate.form)
    for name, each in data.candidates(rows).items()}, dtype=float)
paths.write(folders.tables / "composition.csv", made_of.to_csv())
tables.show(made_of.reset_index())

# %% [markdown]
# **The splits, recovered from decimals.** How 2,560 divides is not said. But EM is yes or no, so
# 56.70 % must be some k/n. For each EM column of Table 2 we seek the smallest n that makes its ten
# values such fractions, and count the rows it speaks of: *forget* (training rows of the forgotten),
# *retain_eval* (of the others, as many as they have test rows), *test_forget* (held out).

# %%
views = data.views(rows, data.forget_set(rows, p.stage2.forget_ratio, p.seeds[0]))
printed = claims.paper("table2").assign(hop=lambda table: table.row.str.split("/").str[-1])
splits = pd.DataFrame([
    {"column": column, "hop": hop, "view": view, "rows here": (views[view].hop == hop).sum(),
     "n in the paper": next(n for n in range(1, 1000) if all(
         abs(100 * round(em * n / 100) / n - em) < 0.0051 for em in printed_here.value))}
    for column, view in (("EM_r", "retain_eval"), ("EM_f", "forget"), ("EM_t", "test_forget"))
    for hop, printed_here in printed[printed.column == column].groupby("hop", sort=False)])
paths.write(folders.tables / "splits.csv", splits.to_csv(index=False))
tables.show(splits)

# %% [markdown]
# One reading fits the total, the words and all six: 70 + 30 training and 14 + 14 test questions per
# person, 20 x 100 + 20 x 28 = 2,560, and 4 of 20 forgotten. Notebook 5 ends with all assumptions.
#
# ## Faces
# The paper's come from an image generator, ours are drawn by code: a person keeps skin, hair,
# features, glasses, beard; the rest changes. Everybody once, then one person in training and test.

# %%
anchors, some = rows.drop_duplicates("identity"), person.groupby("split", sort=False).head(10)
anchors = anchors.head(20)  # of a larger set the first
sheet = pd.concat([anchors.assign(identity="", name="Everybody once", split=anchors.name),
                   some.assign(identity=some.split, name=some.name + ", " + some.split)])
faces = figures.contact_sheet(data.load_images(folder, sheet.image), sheet)
paths.save_figure(faces, folders.figures / "faces")
faces

# %% [markdown]
# **Is a person the same in all pictures?** The paper keeps a view whose ArcFace similarity to an
# anchor is high enough; so does `python -m remem.construct`, which makes people by the services
# that section 6.1 names. Here the filter is only asked, about each person's first picture and some
# others: how many would it accept, of the same person and of another? Without insightface's model
# pack, the tiny base's vision tower recognises, through the same code.

# %%
some = rows[rows.identity.isin(anchors.identity)]
some = some.groupby(["identity", "split"], sort=False).head(6)
settings, alike = p.construction.likeness, None
tower = p.base.tower and pretrain.run_tower(p.base.tower, folders.runs)
try:
    recogniser = likeness.recogniser(settings, tower)
except likeness.NoRecogniser as missing:  # nothing but this cell needs one
    print(missing)
else:
    alike = likeness.survey(some, data.load_images(folder, some.image), recogniser)
    paths.write(folders.tables / "likeness.csv", alike.to_csv(index=False))
    paths.save_figure(figures.likeness(alike, settings.threshold), folders.figures / "likeness")
    accepted = alike.assign(accepted=100 * (alike.similarity >= settings.threshold))
    print(accepted.groupby(["split", "of"], sort=False).accepted.mean().round(1).to_string())
None if alike is None else figures.likeness(alike, settings.threshold)

# %% [markdown]
# What it costs to make people so (`--dry-run` says it before the first call; prices and the names
# of the models are parameters): as planned, and with every attempt used up.

# %%
tables.show(construct.plan(p.construction), digits=2)

# %% [markdown]
# ## What must not leak
# Each would make a later score mean less than it seems. All should be nought. A layout is a
# backdrop, a garment or a colour of either; those of a folder of pictures nobody knows.

# %%
leaks, pools = data.leaks(rows, folder).astype(object), images.POOLS
shared = sum(len({*pools["train"][part]} & {*new}) for part, new in pools["test"].items())
leaks["layouts of the test that training shows too"] = (
    shared if p.dataset.source == "drawn" else "cannot be checked")
paths.write(folders.tables / "leaks.csv", leaks.to_csv(index_label="leak"))
tables.show(leaks.rename_axis("leak").reset_index())

# %% [markdown]
# ## Verdict
# How a dataset is made can be checked exactly; whether a model learns from it, notebook 6 asks.

# %%
stated = claims.paper("setup").query("row == 'dataset'").set_index("column").value.to_dict()
stated |= {"EM columns with Table 2's rows": len(splits), **dict.fromkeys(leaks.index, 0)}
single = 100 * (train.hop == "single").mean()
ours = {"samples": len(rows), "identities": rows.identity.nunique(), "single_hop_percent": single,
        "multi_hop_percent": 100 - single, "qa_per_identity": len(train) / rows.identity.nunique(),
        "EM columns with Table 2's rows": (splits["rows here"] == splits["n in the paper"]).sum()}
verdict = pd.DataFrame({"paper": stated, "ours": ours | leaks.to_dict()}).rename_axis("claim")
known = pd.to_numeric(verdict.ours, errors="coerce").round(6)
verdict["verdict"] = (known == verdict.paper).map({True: "holds", False: "differs"})
verdict.loc[known.isna(), "verdict"] = "cannot be checked"
paths.write(folders.verdicts / "04_dataset.csv", verdict.to_csv())
tables.show(verdict.reset_index())
