"""What `whisper-lambda deploy` would do and cost: commands of docker, sam and AWS, as values.

Nothing here runs anything or asks AWS; `tools/deploying.py` does.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whisper_lambda.economy.prices import MB_PER_GB, MONTH_S, PriceBook
from whisper_lambda.errors import BadOption

TEMPLATE = Path("deploy/template.yaml")
DOCKERFILE = Path("deploy/Dockerfile")
PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
IMAGE_MB = 250  # what an image of base weighs in ECR, compressed; docs/deploy.md
_RESOURCE = re.compile(r'^    (?:Type: (AWS::\w+::\w+)|\{"Type": "(AWS::\w+::\w+)")', re.MULTILINE)
_WATCHED = re.compile(r'"MetricName": "')
_DEFAULT = re.compile(r"^  (\w+):\n    Type: \w+\n(?:    .*\n)*?    Default: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is to be deployed, and where."""

    root: Path  # of the checkout
    stack: str = "whisper-lambda"
    region: str = "us-east-1"
    repository: str = "whisper-lambda"  # of ECR
    model: str = "small"
    architecture: str = "x86_64"
    base: str | None = None  # of the image; None = what the Dockerfile names
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the template

    def parameter(self, name: str) -> str:
        """Return a parameter of the template as it will be."""
        return self.parameters.get(name, defaults(self.root)[name])


@dataclass(frozen=True, slots=True)
class Cost:
    """One thing that costs by the month while nobody speaks."""

    what: str
    usd: float
    note: str = ""


def checkout(start: Path) -> Path:
    """Return the checkout a path lies in.

    Raises:
        BadOption: it lies in none: what is deployed is built from the sources.
    """
    for folder in (start, *start.parents):
        if (folder / TEMPLATE).is_file() and (folder / DOCKERFILE).is_file():
            return folder
    raise BadOption(
        f"there is no {TEMPLATE} here: run this in a checkout of whisper-lambda, or name it by --root"
    )


def defaults(root: Path) -> dict[str, str]:
    """Return the template's parameters that have a default, as text."""
    text = (root / TEMPLATE).read_text(encoding="utf-8")
    return {name: value.strip().strip('"') for name, value in _DEFAULT.findall(text)}


def resources(root: Path) -> Counter[str]:
    """Return how many resources of each type the template makes."""
    text = (root / TEMPLATE).read_text(encoding="utf-8")
    return Counter(plain or made for plain, made in _RESOURCE.findall(text))


def build(to: Deployment) -> list[str]:
    """Return the command that builds the image."""
    command = ["docker", "build", "--platform", PLATFORMS[to.architecture], "--provenance=false"]
    command += ["--build-arg", f"MODEL={to.model}"]
    if to.base:
        command += ["--build-arg", f"BASE={to.base}"]
    return [*command, "-t", local_tag(to), "-f", str(to.root / DOCKERFILE), str(to.root)]


def local_tag(to: Deployment) -> str:
    """Return what the image is called on this machine."""
    return f"{to.repository}:{to.model}-{to.architecture}"


def push(to: Deployment, registry: str) -> list[list[str]]:
    """Return the commands that send the image to a registry of ECR, named without https://."""
    remote = f"{registry}/{local_tag(to)}"
    return [["docker", "tag", local_tag(to), remote], ["docker", "push", remote]]


def apply(to: Deployment, *, image: str, keys: str) -> list[str]:
    """Return the command that makes or changes the stack.

    Args:
        to: what and where.
        image: by digest, so that another image is another version.
        keys: the key file's content: hashes.
    """
    given = {
        **to.parameters,
        "ImageUri": image,
        "Model": to.model,
        "Architecture": to.architecture,
        "Keys": keys,
    }
    return [
        "sam",
        "deploy",
        *("--template-file", str(to.root / TEMPLATE), "--stack-name", to.stack, "--region", to.region),
        *("--capabilities", "CAPABILITY_IAM", "--resolve-s3", "--no-confirm-changeset"),
        *("--image-repository", image.split("@")[0], "--no-fail-on-empty-changeset"),
        "--parameter-overrides",
        *(f"{name}={_quoted(value)}" for name, value in sorted(given.items())),
    ]


def _quoted(value: str) -> str:
    """Return a parameter's value as sam reads it back."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def destroy(to: Deployment) -> list[str]:
    """Return the command that deletes the stack; its bucket stays."""
    return ["sam", "delete", "--stack-name", to.stack, "--region", to.region, "--no-prompts"]


def logs(to: Deployment, *, tail: bool, since: str) -> list[str]:
    """Return the command that shows the functions' logs."""
    command = ["sam", "logs", "--stack-name", to.stack, "--region", to.region, "--start-time", since]
    return [*command, *(["--tail"] if tail else [])]


def at_rest(to: Deployment, book: PriceBook, *, image_mb: float = IMAGE_MB) -> list[Cost]:
    """Return what a month costs in which nobody speaks, largest first; free tiers are not counted."""
    snapped = {"api": ["ApiMemoryMb"], "api-and-chunk": ["ApiMemoryMb", "ChunkMemoryMb"], "off": []}
    costs = [
        Cost(
            f"SnapStart: a snapshot of {to.parameter(name)} MB kept",
            float(to.parameter(name)) / MB_PER_GB * MONTH_S * book.usd("lambda.snapstart_cache_gb_s"),
            "SnapStart=off: nothing. AWS drops it after 14 days without a call",
        )
        for name in snapped[to.parameter("SnapStart")]
    ]
    count = resources(to.root)
    boards = count["AWS::CloudWatch::Dashboard"]
    watched = len(_WATCHED.findall((to.root / TEMPLATE).read_text(encoding="utf-8")))
    costs += [
        Cost(
            "CloudWatch dashboard",
            boards * book.usd("cloudwatch.dashboard_month"),
            "the account's first three are free",
        ),
        Cost(
            f"{count['AWS::CloudWatch::Alarm']} CloudWatch alarms on {watched} metrics",
            watched * book.usd("cloudwatch.alarm_metric_month"),
            "the account's first ten are free",
        ),
        Cost(
            f"ECR: an image of about {image_mb:.0f} MB",
            image_mb / MB_PER_GB * book.usd("ecr.storage_gb_month"),
        ),
        Cost("Lambda, S3, SQS, DynamoDB, Step Functions, SNS, Budgets", 0.0, "by use only"),
    ]
    return sorted(costs, key=lambda cost: -cost.usd)


def most_usd_an_hour(to: Deployment, book: PriceBook) -> float:
    """Return what an hour can cost at most in Lambda's seconds, every environment busy without a pause.

    Infinite where nothing is reserved: then the account's own limit is the bound.
    """
    api, chunk = int(to.parameter("ApiAtOnce")), int(to.parameter("ChunkAtOnce"))
    if not api or not chunk:
        return float("inf")
    gigabytes = (
        api * float(to.parameter("ApiMemoryMb")) + chunk * float(to.parameter("ChunkMemoryMb"))
    ) / MB_PER_GB
    return gigabytes * 3600 * book.usd(f"lambda.{to.architecture}.gb_s")


def shown(command: Sequence[str]) -> str:
    """Return a command as a shell would take it, the keys' hashes left out."""
    words = [re.sub(r'^(Keys=").*("$)', r"\1...\2", word, flags=re.DOTALL) for word in command]
    return shlex.join(words)


def plan(to: Deployment, book: PriceBook) -> Iterator[str]:
    """Yield the lines of a plan: what would be made, where, and what it costs at rest and at most."""
    yield f"stack {to.stack} in {to.region}, model {to.model}, {to.architecture}"
    yield ""
    yield "It would make:"
    for kind, count in sorted(resources(to.root).items()):
        yield f"  {count:3} {kind}"
    yield ""
    costs = at_rest(to, book)
    yield f"At rest, a month (us-east-1, prices as of {book.as_of}, no free tier counted):"
    for cost in costs:
        yield f"  USD {cost.usd:6.2f}  {cost.what}{f' ({cost.note})' if cost.note else ''}"
    yield f"  USD {sum(c.usd for c in costs):6.2f}  in all"
    yield ""
    most = most_usd_an_hour(to, book)
    bound = (
        "without a bound of its own: nothing is reserved"
        if most == float("inf")
        else f"USD {most:.2f} an hour"
    )
    yield f"At most (every environment that may run busy without a pause): {bound};"
    yield (
        f"the kill switch goes at USD {to.parameter('HourlyUsd')} within an hour and at "
        f"USD {to.parameter('MonthlyBudgetUsd')} in a month"
    )


def parsed(pairs: Sequence[str], root: Path) -> dict[str, str]:
    """Return `Name=value` pairs, each a parameter of the template.

    Raises:
        BadOption: one is no pair, or there is no such parameter.
    """
    text = (root / TEMPLATE).read_text(encoding="utf-8")
    known = set(
        re.findall(r"^  (\w+):$", text.split("\nConditions:")[0].split("\nParameters:")[1], re.MULTILINE)
    )
    known -= {"ImageUri", "Keys", "Model", "Architecture"}  # set by the command itself
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in known:
            raise BadOption(
                f"--set takes Name=value with one of {', '.join(sorted(known))}, not {pair[:80]!r}"
            )
        found[name] = value
    return found


def checked_keys(text: str, live: int, *, signed: bool) -> str:
    """Return the keys a function is given.

    Raises:
        BadOption: none is live, and requests need not be signed either.
    """
    if not live and not signed:
        raise BadOption(
            "there is no live API key, so anybody who finds the address could use it: make one "
            "(whisper-lambda keys add NAME), or --set UrlAuth=AWS_IAM"
        )
    return json.dumps(json.loads(text), separators=(",", ":"))
