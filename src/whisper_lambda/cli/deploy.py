"""`whisper-lambda deploy`: an endpoint in an AWS account of one's own, by docker, sam and boto3."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whisper_lambda.cli.terminal import say

if TYPE_CHECKING:
    from whisper_lambda.tools.deployment import Deployment

app = typer.Typer(no_args_is_help=True, help="Run on AWS Lambda, in an account of your own.")

_Stack = Annotated[str, typer.Option("--stack", metavar="NAME", help="CloudFormation stack.")]
_Region = Annotated[
    str, typer.Option("--region", metavar="NAME", envvar="AWS_DEFAULT_REGION", help="AWS region.")
]
_Model = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Tier the image holds.")]
_Architecture = Annotated[
    str, typer.Option("--architecture", metavar="NAME", help="x86_64, or arm64: a fifth cheaper.")
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the template; may be repeated."),
]
_Root = Annotated[
    Path | None, typer.Option("--root", metavar="FOLDER", help="The checkout; unset = the one we are in.")
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and do nothing.")]
_Keys = Annotated[Path | None, typer.Option("--keys", metavar="FILE", help="File of the API keys.")]
STACK, REGION, MODEL, ARCHITECTURE = "whisper-lambda", "us-east-1", "small", "x86_64"


@app.command("plan")
def plan_(
    stack: _Stack = STACK,
    region: _Region = REGION,
    model: _Model = MODEL,
    architecture: _Architecture = ARCHITECTURE,
    set_: _Set = None,
    root: _Root = None,
) -> None:
    """Say what would be made, what it costs while nobody speaks, and at most. Asks AWS nothing."""
    from whisper_lambda.economy.prices import price_book
    from whisper_lambda.tools import deployment

    to = _deployment(stack, region, model, architecture, set_, root)
    for line in deployment.plan(to, price_book()):
        typer.echo(line)


@app.command()
def build(
    model: _Model = MODEL,
    architecture: _Architecture = ARCHITECTURE,
    base: Annotated[
        str | None, typer.Option("--base", metavar="IMAGE", help="Another base image with Python 3.11-3.13.")
    ] = None,
    root: _Root = None,
    dry_run: _DryRun = False,
) -> None:
    """Build the image on this machine, its weights verified."""
    from dataclasses import replace

    from whisper_lambda.tools import deploying, deployment

    to = replace(_deployment(STACK, REGION, model, architecture, None, root), base=base)
    if dry_run:
        say(deployment.shown(deployment.build(to)))
        return
    deploying.built(to)
    typer.echo(deployment.local_tag(to))


@app.command("push")
def push_(
    region: _Region = REGION,
    model: _Model = MODEL,
    architecture: _Architecture = ARCHITECTURE,
    root: _Root = None,
    dry_run: _DryRun = False,
) -> None:
    """Send the image to ECR, and print it by digest."""
    from whisper_lambda.tools import deploying, deployment

    to = _deployment(STACK, region, model, architecture, None, root)
    if dry_run:
        say(f"make the ECR repository {to.repository}, unless it is there; docker login")
        for command in deployment.push(to, "ACCOUNT.dkr.ecr." + region + ".amazonaws.com"):
            say(deployment.shown(command))
        return
    typer.echo(deploying.push_image(to))


@app.command("apply")
def apply_(
    stack: _Stack = STACK,
    region: _Region = REGION,
    model: _Model = MODEL,
    architecture: _Architecture = ARCHITECTURE,
    set_: _Set = None,
    keys: _Keys = None,
    root: _Root = None,
    dry_run: _DryRun = False,
) -> None:
    """Make the stack or change it: the image pushed last, your keys' hashes, your parameters."""
    from whisper_lambda.config import Settings
    from whisper_lambda.http.keys import KeyFile, key_file
    from whisper_lambda.tools import deploying, deployment

    to = _deployment(stack, region, model, architecture, set_, root)
    file = KeyFile(keys) if keys else key_file(Settings.from_env())
    live = sum(key.live(time.time()) for key in file.listed())
    text = file.path.read_text(encoding="utf-8") if file.path.is_file() else '{"keys": []}'
    hashes = deployment.checked_keys(text, live, signed=to.parameter("UrlAuth") == "AWS_IAM")
    if dry_run:
        image = f"ACCOUNT.dkr.ecr.{region}.amazonaws.com/{to.repository}@sha256:..."
        say(deployment.shown(deployment.apply(to, image=image, keys=hashes)))
        return
    deploying.run(deployment.apply(to, image=deploying.image_uri(to), keys=hashes))
    typer.echo(deploying.outputs(to).get("Url", ""))


@app.command("destroy")
def destroy_(
    stack: _Stack = STACK,
    region: _Region = REGION,
    data: Annotated[
        bool, typer.Option("--data", help="Delete the bucket too: recordings, results, cache.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: _Root = None,
    dry_run: _DryRun = False,
) -> None:
    """Delete the stack. The bucket stays, unless --data."""
    from whisper_lambda.tools import deploying, deployment

    to = _deployment(stack, region, MODEL, ARCHITECTURE, None, root)
    if dry_run:
        say(deployment.shown(deployment.destroy(to)))
        say("empty and delete the bucket" if data else "the bucket stays; its lifecycle rules empty it")
        return
    bucket = deploying.outputs(to).get("BucketName", "")
    if not yes and typer.prompt(f"Type {stack} to delete it{' with its data' if data else ''}") != stack:
        say("nothing was deleted")
        raise typer.Exit(1)
    deploying.run(deployment.destroy(to))
    if data and bucket:
        say(f"{deploying.remove_data(to, bucket)} objects and the bucket {bucket} are gone")


@app.command()
def status(stack: _Stack = STACK, region: _Region = REGION, root: _Root = None) -> None:
    """Say how the stack is, where it answers, and whether the kill switch is thrown."""
    from whisper_lambda.tools import deploying

    for name, value in deploying.status(_deployment(stack, region, MODEL, ARCHITECTURE, None, root)).items():
        typer.echo(f"{name}\t{value}")


@app.command("logs")
def logs_(
    stack: _Stack = STACK,
    region: _Region = REGION,
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="e.g. 10min ago.")] = "10min ago",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    root: _Root = None,
    dry_run: _DryRun = False,
) -> None:
    """Show the functions' logs."""
    from whisper_lambda.tools import deploying, deployment

    to = _deployment(stack, region, MODEL, ARCHITECTURE, None, root)
    command = deployment.logs(to, tail=follow, since=since)
    if dry_run:
        say(deployment.shown(command))
        return
    deploying.run(command)


@app.command()
def warm(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=50, help="Environments at once.")] = 1,
    stack: _Stack = STACK,
    region: _Region = REGION,
    root: _Root = None,
) -> None:
    """Have the function really decode, in several environments at once, and print what it says."""
    from whisper_lambda.tools import deploying

    to = _deployment(stack, region, MODEL, ARCHITECTURE, None, root)
    typer.echo(json.dumps(deploying.warm(to, count), indent=1))


def _deployment(
    stack: str, region: str, model: str, architecture: str, given: list[str] | None, root: Path | None
) -> Deployment:
    import whisper_lambda
    from whisper_lambda.economy.prices import checked_architecture
    from whisper_lambda.errors import BadOption
    from whisper_lambda.tools.deployment import Deployment, checkout, parsed

    try:
        found = checkout((root or Path.cwd()).resolve())
    except BadOption:
        if root:
            raise
        found = checkout(Path(whisper_lambda.__file__).resolve())  # an editable install knows its own
    return Deployment(
        root=found,
        stack=stack,
        region=region,
        model=model,
        architecture=checked_architecture(architecture),
        parameters=parsed(given or (), found),
    )
