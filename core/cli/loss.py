"""`macl loss`: a person's own losses, one Python file each; and losses as the other commands name them."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from core.cli.console import err, out
from core.errors import MaclError
from core.losses import LossSpec, own, spec_of
from core.losses.own import resolve
from core.losses.source import name_of, read
from core.runs import RunConfig

app = typer.Typer(
    help="Your own losses: one Python file each, checked, and then on every page.", no_args_is_help=True
)
File = Annotated[Path, typer.Argument(help="Python file with one nn.Module.", show_default=False)]


@app.command()
def add(file: File) -> None:
    """Check a file and copy it to your losses: forms, pages and commands offer it by its name."""
    before = own.of_name(name_of(file))
    spec, text = checked(file)
    added = own.keep(spec, text, offer=True)
    if before.offered == added.key:
        err.print(f"{added.title} is among your losses already, with just this text")
    elif before.specs:
        err.print(f"{added.title} is offered now; runs of earlier versions keep their name and colour")
    else:
        err.print(f"{added.title} is on every page now; train it with: macl train --loss {escape(file.stem)}")
    print(added.key)


@app.command("list")
def list_all() -> None:
    """List your losses with their parameters."""
    table = Table(box=None)
    for column in ("loss", "key", "parameters", "what it does"):
        table.add_column(column, overflow="fold")
    specs = [spec_of(versions.offered) for versions in own.every() if versions.offered]
    for spec in specs:
        parameters = ", ".join(f"{p.name}={p.default}" for p in spec.parameters)
        table.add_row(*(escape(text) for text in (spec.title, spec.key, parameters or "none", spec.summary)))
    if specs:
        out.print(table)
    else:
        err.print(f"none in {escape(str(own.folder()))}; add one with: macl loss add FILE")


@app.command()
def check(file: File) -> None:
    """Try a file on batches that break losses, and say what it costs; nothing is kept."""
    spec, _ = checked(file)
    parameters = ", ".join(f"{p.name}={p.default}" for p in spec.parameters) or "none"
    out.print(f"{spec.title}: {spec.summary} Parameters: {parameters}.", markup=False)


@app.command()
def remove(key: Annotated[str, typer.Argument(help="Name of the loss, such as margin.")]) -> None:
    """Take a loss out of your losses; its runs stay, and show everything."""
    print(own.remove(key))


def checked(file: Path) -> tuple[LossSpec, str]:
    """The specification and the text of a file that has passed the check; warnings are printed.

    Raises:
        MaclError: In one sentence, if it has not passed.
    """
    from core.losses.check import check_file

    report = check_file(file)
    for warning in report.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    if report.errors or report.spec is None:
        first, *more = report.errors
        others = f" (and {len(more)} more: macl loss check {file})" if more else ""
        raise MaclError(f"{first}{others}")
    if clash := [p.name for p in report.spec.parameters if p.name in RunConfig.model_fields]:
        raise MaclError(
            f"{file.name}: {clash[0]} is the name of a setting of every run, --{clash[0].replace('_', '-')}: "
            "give the parameter another name"
        )
    if report.cost is not None:
        err.print(f"{escape(file.name)}: a step at B = 128 costs {report.cost:.1f} × MulSupCon")
    text = read(file)
    if own.key_of(file.stem, text) != report.spec.key:
        raise MaclError(f"{file} was changed while it was checked: try again")
    return report.spec, text


def loss_named(text: str) -> str:
    """The key of a loss as a person names it: built-in, one of theirs, or a file that is used as it is.

    A file is checked and kept with your losses, so that its runs can be resumed, but not offered on pages.

    Raises:
        MaclError: If there is no such loss, or the file fails its check.
    """
    if text.endswith(".py") or os.sep in text:
        spec, source = checked(Path(text).expanduser())
        return own.keep(spec, source, offer=own.of_name(spec.title).offered == spec.key).key
    try:
        return resolve(text)
    except ValueError as error:
        raise MaclError(f"--loss: {error}") from None
