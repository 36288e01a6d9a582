"""`macl benchmark`: every loss on every data set with every seed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from core import report, tracking
from core.cli.console import RunRoot, absolute, err, out, progress_bars, root_of
from core.cli.loss import loss_named
from core.cli.options import LAUNCHER, PACK, PRESET, option
from core.cli.train import default_preset
from core.data import DATASETS
from core.errors import MaclError
from core.experiments.axes import parse_one, parse_params, parse_seeds
from core.experiments.benchmark import ALL_METHODS, Method, Plan, read
from core.losses import Value
from core.runs import settings
from core.runs.where import LOCAL

Tuned = Mapping[str, Mapping[str, Mapping[str, Any]]]
OWN_OPTIONS = ("dataset", "data_root", "loss", "seed", "device")


def benchmark(
    preset: Annotated[str | None, typer.Option(help=PRESET)] = None,
    datasets: Annotated[
        str, typer.Option(help=f"Some of {', '.join(DATASETS)}, with commas between.")
    ] = "dlrsd,ml_aid,whdld",
    losses: Annotated[
        str,
        typer.Option(
            help="Losses with commas between, each with its parameters: macl,macl:denominator=own:alpha=2. "
            "all: every built-in loss and macl:denominator=own. Your own by name, or ./margin.py."
        ),
    ] = "all",
    seeds: Annotated[str, typer.Option(help="Seeds: 0-9, or 0,3,7.")] = "0-2",
    tune: Annotated[
        str | None,
        typer.Option(
            help="tau: first search the temperature of every loss, on the validation split of other seeds."
        ),
    ] = None,
    search_seeds: Annotated[int, typer.Option(min=1, help="Seeds for each candidate of the search.")] = 2,
    data_root: Annotated[
        list[str] | None,
        typer.Option(help="Where a data set is: dlrsd=DLRSD.zip. Can be given several times."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--set", help="Field of the configuration, e.g. epochs=5. Can be given several times."),
    ] = None,
    device: Annotated[str, option("device")] = "auto",
    name: Annotated[
        str | None, typer.Option(help="Folder below RUN_ROOT/benchmarks; default: from the preset.")
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(
            help="Summary of another machine's part: its rows come into the summary here, and what they hold "
            "is not trained again. Can be given several times."
        ),
    ] = None,
    launcher: Annotated[str, typer.Option(help=f"{LAUNCHER} local: this process itself.")] = LOCAL,
    pack: Annotated[int, typer.Option(min=1, help=PACK)] = 1,
    note: Annotated[list[str] | None, typer.Option(help="A sentence that is kept with the numbers.")] = None,
    run_root: RunRoot = None,
) -> None:
    """Run every loss on every data set with every seed; what is finished is not run again.

    Kill it and start it again, or start it several times at once (one for each GPU, with --device): together
    they do what is left. Machines without a common disk take a part each (--seeds 0-4 and --seeds 5-9), and
    --join puts their summaries together. Runs and summary.json are kept in RUN_ROOT/benchmarks/NAME.
    """
    from core.experiments.benchmark.join import read_joined
    from core.experiments.benchmark.summary import refuse_another_study, write
    from core.experiments.benchmark.train import Interrupted, train

    if tune not in (None, "tau"):
        raise MaclError(f"--tune: need tau, got {tune!r}")
    chosen = preset or default_preset(device)
    fields = parse_fields(field or [])
    plan = Plan(
        chosen,
        parse_roots(datasets, data_root or []),
        parse_methods(losses),
        parse_seeds(seeds),
        fields,
        tune is not None,
        search_seeds,
        device,
    )
    field_texts = dict(text.split("=", 1) for text in field or [])  # of a weights file only its name
    changed = [
        f"{key}-{Path(text).stem if '/' in str(fields[key]) else text}" for key, text in field_texts.items()
    ]
    parts = [chosen, *changed, *(["tuned"] if tune else [])]
    parent = root_of(run_root) / "benchmarks"
    folder = parent / (name or "-".join(parts))
    if folder.resolve().parent != parent.resolve():
        raise MaclError(f"--name: need the name of a folder, got {folder.name!r}")
    options = {"preset": chosen, "datasets": datasets, "losses": losses, "seeds": seeds, "tune": tune}
    command = " ".join(
        ["macl benchmark", *(f"--{key} {value}" for key, value in options.items() if value)]
        + ([f"--search-seeds {search_seeds}"] if tune and search_seeds != Plan.search_seeds else [])
        + [f"--set {key}={settings.shown(value)}" for key, value in fields.items()]
    )
    refuse_another_study(folder, plan)
    joined = read_joined(join or [], plan, lambda line: err.print(escape(line)))
    err.print(f"{plan.runs} runs in {escape(str(folder))}; what is finished there is not run again")
    tracking.ensure(folder)
    try:
        with progress_bars() as tell:
            outcome = train(plan, folder, tell, lambda line: err.print(escape(line)), joined, launcher, pack)
    except Interrupted:
        left = "" if launcher == LOCAL else f"; runs that {launcher} has go on (macl stop RUN ends one)"
        err.print(f"stopped; the same command goes on with it{left}")
        raise typer.Exit(1) from None
    wrong = write(plan, outcome, folder, command, note or [], joined)
    summary = read(folder / "summary.json")
    if summary.results:
        out.print(report.to_text(report.summary(summary.results)), markup=False)
    for line in chosen_lines(outcome.tuned, summary.about["joined"]):
        out.print(line, markup=False)
    print(folder / "summary.json")
    if problems := [*outcome.failures, *wrong]:
        err.print(f"[red]error:[/red] {len(problems)} of {plan.runs} runs did not finish")
        for line in problems:
            err.print(f"  {escape(line)}")
        raise typer.Exit(1)


def chosen_lines(tuned: Tuned, joined: list[dict[str, Any]]) -> Iterator[str]:
    """The choices of the search, in words; if a joined part chose otherwise, both are in the table.

    Args:
        tuned: Results of the search here by data set and method.
        joined: Sources of the joined rows, each with its `tuned`.
    """
    for dataset, searched in tuned.items():
        for method, result in searched.items():
            chosen = result["chosen"]
            values = [float(value) for value in result["validation"]]
            edge = " (at the edge of the search)" if chosen in (min(values), max(values)) else ""
            yield f"{dataset}: {method} with {result['parameter']}={chosen:g}{edge}"
            for source in joined:
                theirs = (source.get("tuned") or {}).get(dataset, {}).get(method, result)["chosen"]
                if theirs != chosen:
                    yield (
                        f"{dataset}: {method} with {result['parameter']}={theirs:g} in the joined part: "
                        "its rows are a method of their own in the summary"
                    )


def parse_methods(text: str) -> tuple[Method, ...]:
    """`macl,macl:denominator=own` as methods; MaclError for an unknown loss or parameter."""
    if text == "all":
        return ALL_METHODS
    methods = []
    for item in filter(None, text.split(",")):
        name, *params = item.strip().split(":")
        try:
            loss = loss_named(name)
        except MaclError as error:
            text = str(error).replace("--loss: need one of", "--losses: need all or some of")
            raise MaclError(text) from None
        methods.append(Method(loss, parse_params(loss, params)))
    if not methods or len({method.key for method in methods}) < len(methods):
        raise MaclError(f"--losses: need each loss once and at least one, got {text!r}")
    return tuple(methods)


def parse_roots(datasets: str, given: list[str]) -> dict[str, str | None]:
    """Data sets with their places: `--data-root dlrsd=DIR`."""
    names = [name.strip() for name in datasets.split(",") if name.strip()]
    unknown = [name for name in names if name not in DATASETS]
    if unknown or not names:
        raise MaclError(f"--datasets: need some of {', '.join(DATASETS)}, got {datasets!r}")
    roots: dict[str, str | None] = dict.fromkeys(names)
    for item in given:
        dataset, equals, path = item.partition("=")
        if not equals or dataset not in roots:
            raise MaclError(f"--data-root: need NAME=PATH with one of {', '.join(roots)}, got {item!r}")
        roots[dataset] = absolute(path)
    return roots


def parse_fields(given: list[str]) -> dict[str, Value]:
    """`epochs=5` texts as fields that have no option of their own here."""
    names = [setting.name for setting in settings.fields() if setting.name not in OWN_OPTIONS]
    for text in given:
        if "=" not in text or text.partition("=")[0].strip() not in names:
            raise MaclError(f"--set: need FIELD=VALUE with one of {', '.join(names)}, got {text!r}")
    return dict(parse_one(text, "") for text in given)
