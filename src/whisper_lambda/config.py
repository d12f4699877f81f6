"""Settings: one frozen value, read from the environment once, in this module only."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_type_hints

PREFIX = "WHISPER_LAMBDA_"


class WrongSetting(ValueError):
    """A setting has a name nobody knows, or a value nothing can be done with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decides at start. Each field is WHISPER_LAMBDA_<NAME> in the environment.

    docs/settings.md is generated from `metadata["help"]`. A number is from 0 on, or from
    `metadata["least"]`, to `metadata["most"]`; a value out of these bounds raises WrongSetting.
    """

    home: Path = field(
        default_factory=lambda: Path.home() / ".cache" / "whisper-lambda",
        metadata={"help": "where weights and caches live; the weights store is home/models"},
    )
    scratch: Path | None = field(
        default=None, metadata={"help": "directory for temporary files; unset = the system's"}
    )
    model: str = field(default="small", metadata={"help": "default tier wished for"})
    ladder: tuple[str, ...] = field(
        default=("tiny.en", "base"),
        metadata={
            "help": "tiers of the model `auto`, cheapest first: each hears what the one before it doubts"
        },
    )
    model_dir: Path | None = field(
        default=None, metadata={"help": "folder of model folders (one per tier) to look in first"}
    )
    aliases: Mapping[str, str] = field(
        default_factory=lambda: {"internal": "default"},
        metadata={"help": "comma-separated alias=tier pairs; 'default' means the default tier"},
    )
    hub: bool = field(default=True, metadata={"help": "may weights be fetched from the Hugging Face hub"})
    hub_endpoint: str | None = field(default=None, metadata={"help": "another hub address, e.g. a mirror"})
    hub_timeout_s: float = field(default=3.0, metadata={"help": "an unreachable hub is given up after this"})
    packages: bool = field(
        default=True, metadata={"help": "may weights be taken from installed or downloadable packages"}
    )
    models_memory_mb: int = field(
        default=2048,
        metadata={"help": "loaded models are kept up to this many megabytes, oldest use leaves first"},
    )
    threads: int = field(
        default=0,
        metadata={
            "help": "cores to use; 0 = what the machine, its cgroup or Lambda's memory allows",
            "most": 1024,
        },
    )
    batch_size: int = field(
        default=8, metadata={"help": "most chunks decoded together on one core", "least": 1, "most": 1024}
    )
    onnx_encoder: bool = field(
        default=True,
        metadata={
            "help": "long chunks are encoded by ONNX Runtime where the processor has VNNI: in less than half "
            "the time, for more memory once there is a long one; no = by CTranslate2, as elsewhere"
        },
    )
    max_audio_s: float = field(default=4 * 3600.0, metadata={"help": "longest recording accepted, seconds"})
    max_audio_mb: int = field(default=2048, metadata={"help": "largest file accepted, megabytes"})
    decode_timeout_s: float = field(
        default=600.0, metadata={"help": "a file that takes longer than this to decode is refused"}
    )
    lambda_memory_mb: int = field(
        default=0,
        metadata={"help": "memory of the Lambda function we run in; AWS sets it, 0 = not on Lambda"},
    )
    bucket: str | None = field(
        default=None,
        metadata={"help": "S3 bucket for uploads, parts of jobs and the segment cache; unset = in home"},
    )
    table: str | None = field(
        default=None, metadata={"help": "DynamoDB table jobs are kept in; unset = a database of our own"}
    )
    state_machine: str | None = field(
        default=None,
        metadata={"help": "ARN of the Step Functions state machine that begins jobs of that table"},
    )
    chunks_at_once: int = field(
        default=40, metadata={"help": "most chunks of one job that Step Functions has heard at once"}
    )
    lambda_invoke_mode: str = field(
        default="stream",
        metadata={
            "help": "how answers leave a Lambda function: stream for a Function URL with InvokeMode "
            "RESPONSE_STREAM, buffered for BUFFERED and for API Gateway"
        },
    )
    lambda_auth: str = field(
        default="key",
        metadata={
            "help": "who may use a Lambda function: key = who has an API key; iam = whose request AWS says "
            "was signed (AuthType AWS_IAM), every other one is refused"
        },
    )
    max_upload_mb: int = field(
        default=512, metadata={"help": "largest body one HTTP request may send, megabytes"}
    )
    upload_expires_s: float = field(
        default=3600.0, metadata={"help": "a recording sent ahead is sent within this"}
    )
    uploads_keep_s: float = field(
        default=86_400.0, metadata={"help": "and kept for so long, for the requests and jobs that name it"}
    )
    upload_memory_mb: int = field(
        default=8,
        metadata={"help": "uploads beyond this many megabytes wait on disk, in a file without a name"},
    )
    fetch_urls: bool = field(
        default=False,
        metadata={"help": "may a request name a `url` (https, public addresses) for the server to fetch"},
    )
    fetch_timeout_s: float = field(
        default=60.0, metadata={"help": "a recording that takes longer than this to fetch is refused"}
    )
    receipt_memory_mb: int = field(
        default=0,
        metadata={
            "help": "memory of the Lambda function a receipt is priced for; 0 = the one we run in, else 3008"
        },
    )
    receipt_architecture: str = field(
        default="x86_64", metadata={"help": "architecture a receipt is priced for: x86_64 or arm64"}
    )
    server_key: str | None = field(
        default=None, metadata={"help": "API key `transcribe --server` sends; here no process list shows it"}
    )
    prices_file: Path | None = field(
        default=None,
        metadata={"help": "JSON of prices that replace or add to the shipped ones (`cost prices`)"},
    )
    cache_mb: int = field(
        default=512,
        metadata={
            "help": "what recordings said is remembered, for each tenant apart, in up to so many megabytes; "
            "0 = nothing is"
        },
    )
    cache_days: float = field(default=30.0, metadata={"help": "and for so many days"})
    cache_shared: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "help": "comma-separated tenant=group pairs: tenants of one group share what is remembered"
        },
    )
    decoders: int = field(
        default=1,
        metadata={"help": "0 = the decoding process starts with the first file, 1 = ahead of it"},
    )
    keys_file: Path | None = field(
        default=None, metadata={"help": "where API keys are kept, hashed; unset = home/keys.json"}
    )
    keys: str | None = field(
        default=None,
        metadata={
            "help": "the key file's content instead of a file, as `whisper-lambda keys export` prints it: "
            "hashes, no keys"
        },
    )
    cors_origins: tuple[str, ...] = field(
        default=(), metadata={"help": "web origins whose pages may call the server, e.g. https://app.example"}
    )
    queue: int = field(default=64, metadata={"help": "most requests waiting for their turn"})
    at_once: int = field(
        default=0, metadata={"help": "most requests being transcribed at once; 0 = four for each core"}
    )
    answer_within_s: float = field(
        default=600.0,
        metadata={"help": "a request that could not be answered within this is refused at once"},
    )
    jobs_database: str | None = field(
        default=None,
        metadata={"help": "where jobs are kept: postgresql://...; unset = SQLite in home/jobs"},
    )
    jobs_objects: Path | None = field(
        default=None,
        metadata={"help": "directory of recordings and results, shared by all workers; unset = home/objects"},
    )
    jobs_here: bool = field(
        default=True, metadata={"help": "does `serve` do jobs itself; no = `worker` does, here or elsewhere"}
    )
    jobs_at_once: int = field(
        default=0,
        metadata={
            "help": "chunks of jobs heard at once; 0 = `serve` leaves one core free, `worker` takes all"
        },
    )
    jobs_tenant_at_once: int = field(
        default=0,
        metadata={"help": "of those, most of one tenant on one worker; 0 = no limit but fair turns"},
    )
    jobs_tenant_most: int = field(
        default=1000, metadata={"help": "most jobs of one tenant waiting or under way"}
    )
    jobs_keep_s: float = field(
        default=7 * 86_400.0, metadata={"help": "a job and its transcript are removed so long after its end"}
    )
    jobs_lease_s: float = field(
        default=30.0,
        metadata={
            "least": 0.001,
            "help": "a worker silent for so long is taken for dead, its work done by others",
        },
    )
    jobs_poll_s: float = field(
        default=0.2, metadata={"least": 0.001, "help": "how often a worker looks for work"}
    )
    webhooks_private: bool = field(
        default=False,
        metadata={"help": "may webhooks go to http and to private addresses, e.g. a program on this machine"},
    )
    drain_s: float = field(
        default=30.0, metadata={"help": "after SIGTERM requests under way may take this long"}
    )
    probe_every_s: float = field(
        default=20.0, metadata={"help": "how often /health/ready's recording is really transcribed"}
    )
    live_sessions: int = field(
        default=32, metadata={"help": "most live sessions at once; fewer where the machine cannot keep up"}
    )
    live_secret: str = field(
        default="",
        metadata={"help": "what client secrets and live tokens are sealed with; unset = a file in home"},
    )
    opentelemetry: bool = field(
        default=False,
        metadata={
            "help": "spans and metrics of requests by OpenTelemetry, sent where the OTEL_EXPORTER_OTLP_* "
            "variables say (extra otel)"
        },
    )
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
    log_format: str = field(
        default="auto", metadata={"help": "json, human, or auto: human on a terminal, else json"}
    )
    log_words: bool = field(
        default=False, metadata={"help": "may logs hold transcripts and the messages of unexpected errors"}
    )

    def __post_init__(self) -> None:
        """Refuse numbers nothing can be done with: a batch of none would be waited for for ever."""
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            least, most = f.metadata.get("least", 0), f.metadata.get("most", math.inf)
            if not (least <= value <= most and math.isfinite(value)):
                bounds = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g}"
                raise WrongSetting(f"{PREFIX}{f.name.upper()} is a number {bounds}, not {value:g}")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings, failing loudly on a name we do not know.

        Args:
            env: the environment; None = the process's own.

        Raises:
            WrongSetting: an unknown WHISPER_LAMBDA_ name, or a value that does not parse or is out of bounds.
        """
        env = os.environ if env is None else env
        hints = get_type_hints(cls)
        known = {PREFIX + f.name.upper(): f.name for f in fields(cls)}
        values: dict[str, Any] = {}
        for name in sorted(n for n in env if n.startswith(PREFIX)):
            if name not in known:
                near = difflib.get_close_matches(name.removeprefix(PREFIX).lower(), known.values(), n=1)
                named = [PREFIX + n.upper() for n in near]
                hint = f"did you mean {named[0]}?" if near else f"known: {', '.join(sorted(known))}"
                raise WrongSetting(f"{name} is not a setting; {hint}")
            values[known[name]] = _parse(name, env[name], hints[known[name]])
        if "lambda_memory_mb" not in values:
            values["lambda_memory_mb"] = int(env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"))
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What Lambda says of the environment a function runs in."""

    runtime_api: str = ""  # host:port of the Runtime API; "" = not on Lambda
    function: str = ""
    version: str = ""  # a number, or $LATEST
    memory_mb: int = 0
    initialization: str = "on-demand"  # or provisioned-concurrency, snap-start

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read what Lambda put into the environment; nothing elsewhere."""
        env = os.environ if env is None else env
        return cls(
            runtime_api=env.get("AWS_LAMBDA_RUNTIME_API", ""),
            function=env.get("AWS_LAMBDA_FUNCTION_NAME", ""),
            version=env.get("AWS_LAMBDA_FUNCTION_VERSION", ""),
            memory_mb=int(env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")),
            initialization=env.get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        )


def with_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with more in it, for a process of its own."""
    return {**os.environ, **variables}


def prefer_avx512() -> None:
    """Have CTranslate2 use AVX512, unless the operator chose an instruction set himself.

    It reads this variable when it is first imported, and takes no argument for it.
    """
    os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")


_SPELT: Mapping[object, str] = {bool: "true or false", int: "a whole number", float: "a number"}
_PAIRS = "name=value, with commas between several"
_BOOLS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


def _parse(name: str, text: str, kind: object) -> Any:  # noqa: ANN401 - one parser for every field type
    """Turn the text of one variable into the field's type, naming the variable when it cannot."""
    try:
        if kind is bool:
            return _BOOLS[text.strip().lower()]
        if kind in (int, float, str):
            return kind(text)
        if kind == Mapping[str, str]:
            return dict(pair.strip().split("=", 1) for pair in text.split(",") if pair.strip())
        if kind == str | None:
            return text or None
        if kind == tuple[str, ...]:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if text or kind is not Path:
            return Path(text).expanduser() if text else None
    except (KeyError, ValueError) as cause:
        raise WrongSetting(f"{name} is {_SPELT.get(kind, _PAIRS)}, not {text!r}") from cause
    raise WrongSetting(f"{name} is empty; it names a folder, or is unset")
