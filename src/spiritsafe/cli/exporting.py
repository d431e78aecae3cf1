"""`spiritsafe export`: the trained student in the form that a server reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spiritsafe.cli.common import Json, Run, next_command, of_run

To = Annotated[str, typer.Option("--to", help="hf, gguf, ollama or vllm.")]
Out = Annotated[Path | None, typer.Option("--out", help="New folder; RUN/export/FORMAT by default.")]
Converter = Annotated[
    Path | None, typer.Option(help="gguf, ollama: llama.cpp's convert_hf_to_gguf.py, if not on the PATH.")
]


def export(
    run: Run,
    to: To,
    out: Out = None,
    arm: Annotated[str, typer.Option(help="Which row of the table.")] = "student",
    converter: Converter = None,
    as_json: Json = False,
) -> None:
    """Write a student with its card; prints the command that serves it."""
    from spiritsafe.export.export import export as write
    from spiritsafe.pipeline.ask import trained_folder
    from spiritsafe.pipeline.stage import Context
    from spiritsafe.rundir import RunDir
    from spiritsafe.talk import Talk

    recipe = of_run(run)
    context = Context(recipe=recipe, run=RunDir(run), talk=Talk())
    target = out or run / "export" / (to if arm == "student" else f"{to}-{arm}")
    model = Path(trained_folder(context, arm))
    done = write(context.run, recipe, model, to, target, arm=arm, converter=converter)
    if as_json:
        typer.echo(json.dumps({"folder": str(done.folder), "files": done.files, "serve": done.serve}))
    else:
        typer.echo(f"{done.folder}: {', '.join(done.files)}")
    if done.note:
        typer.echo(f"note: {done.note}", err=True)
    next_command(done.serve)
