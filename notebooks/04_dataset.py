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

# %%
import pandas as pd

from remem import claims, figures, params, paths
from remem import dataset as data  # `dataset` is a parameter

p = params.load(scale, models=models, seeds=seeds, workers=workers, dataset=dataset, base=base,
                stage1=stage1, stage2=stage2, evaluate=evaluate)
folders = paths.outputs(p.scale)
folder = data.make(p.dataset, folders.runs)  # at smoke scale smaller than the paper's
rows = data.read(folder)  # checks every line, and decodes every picture
pictures = data.load_images(folder, rows.image)
train = rows[rows.split == "train"]
print(f"{len(rows):,} samples of {rows.identity.nunique()} people")

# %% [markdown]
# ## What Table 1 says
# In the text that we have, the heads of Table 1's columns are lost. Three are yes or no (ReMem has
# all); two are numbers, which we read as training pictures and questions per person.

# %%
table1 = claims.paper_table("table1").astype(int).rename_axis("benchmark")
table1.columns = ["pictures per person", "questions per person"]
table1.loc["counted here"] = [*train.groupby("identity")[["image", "id"]].nunique().mean()]
paths.write(folders.tables / "table1.csv", table1.to_csv())
table1

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
examples[["split", "hop", "question", "answer"]].style.hide(axis="index")

# %% [markdown]
# ## What it is made of
# Nobody is asked for a name single-hop, since such a question holds it.

# %%
made_of = pd.crosstab(rows.attribute, rows.split + ", " + rows.hop, margins=True)
paths.write(folders.tables / "composition.csv", made_of.to_csv())
made_of.rename_axis(columns=None)

# %% [markdown]
# **The splits, recovered from decimals.** The paper does not say how 2,560 divides. But an exact
# match (EM) is yes or no, so 56.70 % must be some k/n. For each EM column of Table 2 we seek the
# smallest n that makes all ten printed values such fractions, and count the rows it speaks of:
# *forget* (training rows of the forgotten), *retain_eval* (training rows of the others, as many as
# they have test rows), *test_forget* (held-out rows of the forgotten).

# %%
views = data.views(rows, data.forget_set(rows, p.stage2.forget_ratio, p.seeds[0]))
printed = claims.paper("table2").assign(hop=lambda table: table.row.str.split("/").str[-1])
splits = pd.DataFrame([
    {"column": column, "hop": hop, "view": view, "rows here": (views[view].hop == hop).sum(),
     "n in the paper": next(n for n in range(1, 1000) if all(
         abs(100 * round(em * n / 100) / n - em) < 0.0051 for em in printed_here.value))}
    for column, view in (("EM_r", "retain_eval"), ("EM_f", "forget"), ("EM_t", "test_forget"))
    for hop, printed_here in printed[printed.column == column].groupby("hop", sort=False)
])
paths.write(folders.tables / "splits.csv", splits.to_csv(index=False))
splits

# %% [markdown]
# One reading fits the total, the words and all six: 70 + 30 training and 14 + 14 test questions per
# person, 20 x 100 + 20 x 28 = 2,560, and 4 of 20 people forgotten. What else we had to assume:
#
# | open in the paper | ours | reason |
# |---|---|---|
# | retain-eval | 14 + 14 training rows per retained person | "sequences learned during training" |
# | who is forgotten | seed s takes one of five disjoint folds | five seeds cover all 20 people |
# | shares of the attributes | name 9 of 30 (2 of 14) multi-hop, the rest even | "a balanced mix" |
# | templates and answers | ours; full sentences around one value | only two are printed |
# | "visual layouts" | backgrounds, clothes and their colours | "pose, clothing, background" |
#
# ## Faces
# The paper's come from an image generator. Ours are drawn by code, in seconds and anywhere: a
# person keeps skin, hair, features, glasses, beard; the rest changes. Below everybody once, then
# one person as training shows them and as the test does, which shares no background, no garment.

# %%
anchors, some = rows.drop_duplicates("identity"), person.groupby("split", sort=False).head(10)
sheet = pd.concat([anchors.assign(identity="", name="Everybody once", split=anchors.name),
                   some.assign(identity=some.split, name=some.name + ", " + some.split)])
faces = figures.contact_sheet([pictures[k] for k in sheet.index], sheet)
paths.save_figure(faces, folders.figures / "faces")
faces

# %% [markdown]
# ## What must not leak
# Each would make a later score mean less than it seems. All should be nought.

# %%
leaks = data.leaks(rows, pictures).rename_axis("leak")
paths.write(folders.tables / "leaks.csv", leaks.to_csv())
leaks.reset_index().style.hide(axis="index")

# %% [markdown]
# ## Verdict
# How a dataset is made can be checked exactly; whether a model learns from it, notebook 6 asks.

# %%
verdict = claims.paper("setup").query("row == 'dataset'").set_index("column")[["value"]]
verdict.columns, single = ["paper"], 100 * (train.hop == "single").mean()
met = (splits["rows here"] == splits["n in the paper"]).sum()
verdict.loc["leaks"], verdict.loc["rows as in Table 2, of 6 columns"] = 0, len(splits)
verdict["ours"] = [len(rows), len(anchors), len(train) / len(anchors), single, 100 - single,
                   leaks.sum(), met]
verdict["verdict"] = (verdict.paper == verdict.ours.round(6)).map({True: "holds", False: "differs"})
paths.write(folders.verdicts / "04_dataset.csv", verdict.rename_axis("claim").to_csv())
verdict.round(1)
