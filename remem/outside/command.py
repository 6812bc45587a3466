"""The command `remem published`: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from typing import Any

from remem import paths
from remem.config import SCALES, load_config, loading

# A LoRA of LLaVA-1.5-7B that others trained on ReMem: the one outside check of stage 1 there is.
ADAPTER = "WonjunLee/AIM_MLLM_Unlearning"


def add(commands: Any) -> None:
    """Declare it among the commands of a parser."""
    what = "ask a published adapter ReMem's questions: Table 3's row beside the paper's"
    command = commands.add_parser(
        "published",
        help=what,
        description=f"{what[0].upper()}{what[1:]}. It is loaded on its base, which is at hand as "
        "for scale paper; nothing is downloaded unless HF_HUB_OFFLINE=0. Only plain LoRA in "
        "safetensors is read, and no code of it is run.",
        epilog="example: remem published --revision 0123456789abcdef0123456789abcdef01234567",
    )
    command.set_defaults(run=_published)
    command.add_argument(
        "adapter",
        nargs="?",
        default=ADAPTER,
        help="a repository of the Hub, or a folder; default: %(default)s",
    )
    command.add_argument(
        "--revision", metavar="COMMIT", help="of the repository; default: the newest, which is said"
    )
    command.add_argument(
        "--inside", metavar="FOLDER", help="the adapter's, where there are several"
    )
    command.add_argument("--model", help="the base, of base.networks; default: the first of models")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--scale", choices=SCALES, default="paper", help="default: %(default)s")
    which.add_argument("--params", type=paths.written, metavar="FILE", help="a YAML file instead")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one parameter; without one, scale paper has benchmark=remem here",
    )


def _published(given: argparse.Namespace) -> int:
    from remem.evaluation import judge
    from remem.outside import published
    from remem.report import tables

    overrides = loading.assignments(given.set)
    if given.params is None and given.scale == "paper":
        overrides.setdefault("benchmark", "remem")
    config = load_config(given.params or given.scale, overrides)
    model = given.model or config.models[0]
    run = published.published_run(config, model, given.adapter, given.revision, given.inside)
    print(f"{given.adapter} at {run.commit}, on {model}, asked about {config.data_name}")
    rows = published.answered(config, model, run)
    rows = judge.score(rows, config.judge, config.account, rows["split"] == "train")
    table = tables.table3(rows, paper=config.is_remem)
    print(_beside(table).to_string(index=False))
    return 0


def _beside(table: Any) -> Any:
    """A line for each measure: ours, its interval, the paper's."""
    import pandas as pd

    [line] = table.to_dict("records")
    measures = [name.removeprefix("paper_") for name in table if name.startswith("paper_")]
    lines = [
        {
            "measure": name,
            "this adapter": line[name],
            "from": line[f"{name}_lo"],
            "to": line[f"{name}_hi"],
            "the paper": line[f"paper_{name}"],
        }
        for name in measures
    ]
    return pd.DataFrame(lines).round(2)
