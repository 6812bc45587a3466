"""The paper's tables from scored rows, with its own numbers beside ours.

Input rows are scored predictions (metrics.score), concatenated, with `model` and `seed` added, and
`method` and `view` (Table 2) or `stage` (Table 3). All numbers are percentages; `X_lo` and `X_hi`
bound the 95 % interval of X over (seed, identity), empty below eight; `paper_X` is the paper's.
In Table 3, and among the retained in Table 2, the same people come back with every seed: those
intervals speak about these people, not about new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from remem import claims, metrics, paths

BASE, CHANCE = "base", "chance"  # an untaught model, and a guess among the candidates
STAGES = (BASE, "stage 1")
METHODS = (BASE, CHANCE, claims.BEFORE, *claims.METHODS, claims.RETRAINED)


def table2(rows: pd.DataFrame, resamples: int = 2000, form: str = "log") -> pd.DataFrame:
    """Table 2: model, method, hop, then ROUGE, EM_r, judge, EM_f, Exposure, EM_t, EM_t_retain.

    rows: `view` is forget, retain_eval, test_forget or test_retain; `candidates` is |C|. A method's
    row appears when the method does; other names than the paper's follow them. The rows "chance"
    are added: what a guess among the candidates gives, in EM and in Exposure of this `form`.
    """
    table = _measure(rows, ["model", "method", "hop"], "view", metrics.TABLE2, resamples)
    table = pd.concat([table, _chance(rows, form)], ignore_index=True)
    table = _sort(table, model=_models(table), method=METHODS, hop=claims.HOPS)
    return _beside_paper(table, "table2", ["method", "hop"], metrics.TABLE2)


def table3(rows: pd.DataFrame, resamples: int = 2000) -> pd.DataFrame:
    """Table 3: model, stage ("base" or "stage 1"), then ROUGE, judge, EM (train), EM_t (test)."""
    table = _measure(rows, ["model", "stage"], "split", metrics.TABLE3, resamples)
    table = _sort(table, model=_models(table), stage=STAGES)
    return _beside_paper(table, "table3", ["stage"], metrics.TABLE3)


def by_attribute(rows: pd.DataFrame, resamples: int = 2000) -> pd.DataFrame:
    """Table 2 per attribute: model, method, attribute, hop, then the columns of Table 2.

    An average hides which secret leaks: e-mail addresses and jobs are not forgotten alike.
    """
    by = ["model", "method", "attribute", "hop"]
    table = _measure(rows, by, "view", metrics.TABLE2, resamples)
    return _sort(table, model=_models(table), method=METHODS, attribute=(), hop=claims.HOPS)


def assumptions() -> pd.DataFrame:
    """What the paper leaves open: topic, what is done here (ours), and why (reason)."""
    return pd.read_csv(paths.PAPER.with_name("assumptions.csv"), dtype=str)


def _chance(rows: pd.DataFrame, form: str) -> pd.DataFrame:
    """model, method, hop and each column of Table 2 that a guess has a value for."""
    if "candidates" not in rows:
        raise ValueError("the rows lack the column candidates, which predict.evaluate adds")
    guess = {"em": lambda n: 100 / n, "exposure": lambda n: metrics.exposure_chance(int(n), form)}
    columns = {}
    for column, (view, measure) in metrics.TABLE2.items():
        if measure in guess:
            part = rows[rows["view"] == view]
            level = {n: guess[measure](n) for n in part.candidates.unique()}
            columns[column] = part.candidates.map(level).groupby([part.model, part.hop]).mean()
    return pd.DataFrame(columns).rename_axis(["model", "hop"]).reset_index().assign(method=CHANCE)


def _measure(
    rows: pd.DataFrame,
    by: list[str],
    where: str,
    measures: Mapping[str, tuple[str, str]],
    resamples: int,
) -> pd.DataFrame:
    needed = [*by, where, "seed", "identity", *dict.fromkeys(m for _, m in measures.values())]
    if missing := [name for name in needed if name not in rows]:
        raise ValueError(
            f"the rows lack the column(s) {', '.join(missing)}; score them with metrics.score "
            "and add model, seed and the rest with rows.assign(...)"
        )
    table = rows[by].drop_duplicates()
    for column, (view, measure) in measures.items():
        part = metrics.summarise(rows[rows[where] == view], by, measure, resamples)
        part = part.drop(columns="units").rename(
            columns={"mean": column, "lo": f"{column}_lo", "hi": f"{column}_hi"}
        )
        table = table.merge(part, on=by, how="left")
    return table


def _models(table: pd.DataFrame) -> list[str]:
    """The models as met, those standing for the paper's 7B before those for its 13B."""
    size = {name: place for place, name in enumerate(claims.MODELS)}
    met = list(dict.fromkeys(table.model))
    return sorted(met, key=lambda name: size.get(claims.counterpart(name), -1))


def _sort(table: pd.DataFrame, **orders: Sequence[str]) -> pd.DataFrame:
    """Sort by the columns named, each in the order given; values not in it follow, as met."""
    places = table[list(orders)].copy()
    for column, order in orders.items():
        names = [*order, *(name for name in dict.fromkeys(table[column]) if name not in order)]
        places[column] = table[column].map(names.index)
    return table.loc[places.sort_values(list(orders)).index].reset_index(drop=True)


def _beside_paper(
    table: pd.DataFrame, item: str, names: list[str], measures: Mapping
) -> pd.DataFrame:
    keys = table.model.map(claims.counterpart).str.cat([table[name] for name in names], sep="/")
    printed = claims.paper_table(item).reindex(keys)
    for column in measures:
        if column in printed:
            place = table.columns.get_loc(f"{column}_hi") + 1
            table.insert(place, f"paper_{column}", printed[column].to_numpy())
    return table


def show(table: pd.DataFrame, digits: int = 1):
    """The table for reading (a pandas Styler): ours, its interval, the paper's number small below.

    Every text is escaped. The judge's column says whose it is.
    """
    columns = [name for name in table if not _belongs(name, table)]
    cells = {_head(name): [_cell(row, name, digits) for _, row in table.iterrows()]
             for name in columns}
    return (
        pd.DataFrame(cells, index=range(len(table)))
        .style.hide(axis="index")
        .set_table_styles([{"selector": "th, td", "props": "text-align: left; "
                            "vertical-align: top"}])
    )


def _belongs(name: str, table: pd.DataFrame) -> bool:
    """Whether a column is an interval's end or the paper's number of another column."""
    if name.startswith("paper_"):
        return name.removeprefix("paper_") in table
    return name.endswith(("_lo", "_hi")) and name[:-3] in table


def _head(name: str) -> str:
    return "rule judge (ours, not Gemini)" if name == "judge" else escape(str(name))


def _cell(row: pd.Series, name: str, digits: int) -> str:
    value = row[name]
    if not isinstance(value, float):
        return escape(str(value))
    text = "" if pd.isna(value) else f"{value:.{digits}f}"
    lo, hi, printed = (row.get(other) for other in (f"{name}_lo", f"{name}_hi", f"paper_{name}"))
    if pd.notna(lo):
        text += f" <small>[{lo:.{digits}f}, {hi:.{digits}f}]</small>"
    if pd.notna(printed):
        text += f"<br><small>paper {printed:.2f}</small>"
    return text
