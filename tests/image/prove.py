"""Build deploy/Dockerfile, call it as Lambda would, and write down what was seen: `make image-test`.

    python tests/image/prove.py [--base IMAGE] [--model base] [--log docs/image-test.log]

Without --base a stand-in for AWS's image is made: Debian 13 (Python 3.13) from its archive, which needs
root and debootstrap. Without DOCKER_HOST and without a running daemon one is started, for the time of
this run, and ended. The emulator of Lambda's Runtime API is that of aws-sam-cli (.venv-aws).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-aws"
RECORDING = ROOT / "tests/fixtures/es-tt-allbusy.flac"
WORDS = "Todos los representantes"  # what the recording begins with
CONTEXT = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "src",
    "requirements",
    "deploy",
    ".dockerignore",
)
TAG, TESTED = "whisper-lambda:ci", "whisper-lambda:ci-rie"
MEMORY_MB, TIMEOUT_S = 3008, 120
KEY_TENANT = "image-test"


class Told:
    """Writes what was seen to the log and to the terminal."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def __call__(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
            print(line, file=self._file, flush=True)


def run(*command: str, **more: Any) -> str:
    """Run a command and return what it printed; its failure is ours."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ...: {done.stderr[-3000:] or done.stdout[-3000:]}")
    return done.stdout


@contextmanager
def daemon(folder: Path) -> Iterator[None]:
    """Have a Docker daemon: the one there is, or one of our own that ends with this."""
    if (
        os.environ.get("DOCKER_HOST")
        or not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        yield
        return
    place = folder / "docker"
    place.mkdir()
    address = f"unix://{place}/socket"
    flags = ["--storage-driver", "overlay2", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]
    command = ["dockerd", "-H", address, "--data-root", f"{place}/data", "--exec-root", f"{place}/exec"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([*command, "-p", f"{place}/pid", *flags], stdout=log, stderr=log)
    os.environ["DOCKER_HOST"] = address
    try:
        for _ in range(120):
            if not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
                break
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(30)
        subprocess.run(["ip", "link", "del", "docker0"], capture_output=True, check=False)
        # The daemon leaves its network's name mounted, and a folder with a mount in it cannot be removed.
        subprocess.run(["umount", f"{place}/exec/netns/default"], capture_output=True, check=False)


def stand_in(folder: Path, told: Told) -> str:
    """Return an image with Python 3.13 where AWS's cannot be pulled."""
    name = "whisper-lambda-stand-in:trixie"
    if run("docker", "images", "-q", name).strip():
        return name
    told("base: Debian 13 from its archive, since AWS's image was not asked for (--base)")
    root = folder / "rootfs"
    packages = "ca-certificates,python3,python3-venv,python3-pip"
    run("debootstrap", "--variant=minbase", f"--include={packages}", "trixie", str(root))
    tar = folder / "base.tar"
    run("tar", "-C", str(root), "-cf", str(tar), ".")
    run("docker", "import", str(tar), name)
    tar.unlink()
    return name


def build(folder: Path, base: str, model: str, told: Told) -> None:
    """Build the image from what the repository holds, with this machine's certificates."""
    context = folder / "context"
    for name in CONTEXT:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        context.mkdir(exist_ok=True)
        copy(source, context / name)
    certificates = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))
    if certificates.is_file() and not (context / "deploy/pip.conf").exists():
        shutil.copy(certificates, context / "deploy/ca.crt")
        (context / "deploy/pip.conf").write_text("[global]\ncert = /build/ca.crt\n")
    started = time.monotonic()
    arguments = [f"--build-arg=BASE={base}", f"--build-arg=MODEL={model}", "--network=host", "-q"]
    dockerfile = context / "deploy/Dockerfile"
    run(
        "docker",
        "build",
        *arguments,
        "-t",
        TAG,
        "-f",
        str(dockerfile),
        str(context),
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )
    told(f"built in {time.monotonic() - started:.0f} s, base {base}, model {model}")


def layers(told: Told) -> None:
    """Say how large the image and each of its layers are."""
    told("", "layer                                                             size")
    for line in run("docker", "history", "--format", "{{.Size}}\t{{.CreatedBy}}", TAG).splitlines():
        size, _, made = line.partition("\t")
        if size != "0B":
            told(f"{made.replace('/bin/sh -c #(nop) ', '')[:60]:62} {size:>8}")
    total = int(run("docker", "image", "inspect", "-f", "{{.Size}}", TAG))
    told(f"{'all':62} {total / 1e6:6.0f}MB", "")


def emulator() -> Path:
    """Return the Runtime Interface Emulator that aws-sam-cli brings."""
    machine = {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return next(VENV.glob(f"lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))


def with_emulator(folder: Path) -> None:
    """Put the emulator before the image's own entry point, as sam does too."""
    context = folder / "rie"
    context.mkdir()
    shutil.copy(emulator(), context / "aws-lambda-rie")
    (context / "aws-lambda-rie").chmod(0o755)
    entry = run("docker", "image", "inspect", "-f", "{{json .Config.Entrypoint}}", TAG).strip()
    command = json.dumps(["/usr/local/bin/aws-lambda-rie", *json.loads(entry)])
    (context / "Dockerfile").write_text(
        f'FROM {TAG}\nCOPY aws-lambda-rie /usr/local/bin/\nENTRYPOINT {command}\nCMD ["api"]\n'
    )
    run("docker", "build", "-q", "-t", TESTED, str(context), env={**os.environ, "DOCKER_BUILDKIT": "0"})


def event(key: str) -> dict[str, Any]:
    """Return a Function URL event: the founding curl with a Spanish recording."""
    border = "image-test-border"
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="llamada.flac"\r\n\r\n'
    field = f'\r\n--{border}\r\nContent-Disposition: form-data; name="language"\r\n\r\nes\r\n--{border}--\r\n'
    body = head.encode() + RECORDING.read_bytes() + field.encode()
    now = time.time()
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/transcribe",
        "rawQueryString": "",
        "headers": {
            "content-type": f"multipart/form-data; boundary={border}",
            "content-length": str(len(body)),
            "authorization": f"Bearer {key}",
            "host": "id.lambda-url.us-east-1.on.aws",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "id",
            "domainName": "id.lambda-url.us-east-1.on.aws",
            "domainPrefix": "id",
            "http": {
                "method": "POST",
                "path": "/transcribe",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "curl/8",
            },
            "requestId": "image-test",
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def answered(raw: bytes) -> dict[str, Any]:
    """Return the JSON of an answer. The emulator hands a streamed one on as it is: head, 8 NULs, body."""
    head, _, body = raw.partition(b"\0" * 8)
    if body:
        status = json.loads(head)["statusCode"]
    else:
        told = json.loads(raw)
        status, body = told["statusCode"], told["body"].encode()
        if told.get("isBase64Encoded"):
            body = base64.b64decode(body)
    if status != 200:
        sys.exit(f"status {status}: {body[:500]!r}")
    answer: dict[str, Any] = json.loads(body)
    return answer


def keys(folder: Path) -> tuple[str, str]:
    """Make a key; return its text and the file that knows its hash."""
    file = folder / "keys.json"
    text = run(
        str(Path(sys.executable).parent / "whisper-lambda"), "keys", "add", KEY_TENANT, "--keys", str(file)
    )
    return text.strip(), file.read_text()


def container(key: str, kept: str, told: Told) -> None:
    """Start the image with the emulator inside, call it cold and warm, and look at its user."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT_S),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
        "AWS_LAMBDA_FUNCTION_NAME": "image-test",
        "WHISPER_LAMBDA_KEYS": kept,
    }
    flags = [f"--env={name}={value}" for name, value in settings.items()]
    limits = [f"--memory={MEMORY_MB}m", "--user=10001:10001", "--read-only", "--tmpfs=/tmp:size=512m"]
    name = run("docker", "run", "-d", "--rm", *limits, *flags, f"-p=127.0.0.1:{port}:8080", TESTED).strip()
    try:
        time.sleep(1)
        address = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        user = run("docker", "exec", name, "id", "-u").strip()
        told(f"emulator inside the image: read-only root, /tmp 512 MB, memory {MEMORY_MB} MB, uid {user}")
        for which in ("cold", "warm", "warm"):
            request = urllib.request.Request(address, json.dumps(event(key)).encode())
            started = time.monotonic()
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                answer = answered(response.read())
            spent_s = time.monotonic() - started
            if WORDS not in answer["text"]:
                sys.exit(f"not what is said in the recording: {answer}")
            told(f"{which}: {spent_s:6.2f} s  {answer['text']}")
        refused = event("wl_00000000_" + "x" * 43)
        request = urllib.request.Request(address, json.dumps(refused).encode())
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            head = json.loads(response.read().partition(b"\0" * 8)[0])
        told(f"without a good key: status {head['statusCode']}")
        if head["statusCode"] != 401:
            sys.exit("a wrong key was not refused")
        used = run("docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", name).strip()
        told(f"memory in use after that: {used}", "")
    except BaseException:
        told(run("docker", "logs", name)[-3000:])
        raise
    finally:
        subprocess.run(["docker", "kill", name], capture_output=True, check=False)


def served(key: str, kept: str, told: Told) -> None:
    """Start the same image as a server anywhere, and send the founding curl."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    entry = [
        "--entrypoint=whisper-lambda",
        "--read-only",
        "--tmpfs=/tmp",
        f"--env=WHISPER_LAMBDA_KEYS={kept}",
    ]
    name = run(
        "docker", "run", "-d", "--rm", *entry, f"-p=127.0.0.1:{port}:8000", TAG, "serve", "--host=0.0.0.0"
    ).strip()
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=1):
                    break
            except OSError:
                time.sleep(0.25)
        form = [f"-Ffile=@{RECORDING}", "-Flanguage=es", "-HAuthorization: Bearer " + key]
        answer = json.loads(run("curl", "-sS", *form, f"http://127.0.0.1:{port}/transcribe"))
        if WORDS not in answer.get("text", ""):
            sys.exit(f"serve: {answer}")
        told(f"whisper-lambda serve in the same image: {answer['text']}", "")
    finally:
        subprocess.run(["docker", "kill", name], capture_output=True, check=False)


def sam(folder: Path, key: str, kept: str, told: Told) -> None:
    """Have `sam local invoke` start the image from a template that names its tag."""
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "ApiFunction": {
                "Type": "AWS::Serverless::Function",
                "Properties": {
                    "PackageType": "Image",
                    "ImageUri": TAG,
                    "ImageConfig": {"Command": ["api"]},
                    "MemorySize": MEMORY_MB,
                    "Timeout": TIMEOUT_S,
                    "Environment": {"Variables": {"WHISPER_LAMBDA_KEYS": kept}},
                },
            }
        },
    }
    (folder / "sam.json").write_text(json.dumps(template))
    (folder / "event.json").write_text(json.dumps(event(key)))
    command = [str(VENV / "bin/sam"), "local", "invoke", "ApiFunction", "--skip-pull-image"]
    command += ["-t", str(folder / "sam.json"), "-e", str(folder / "event.json")]
    env = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(command, capture_output=True, env=env, cwd=folder, check=False)
    said = done.stdout + done.stderr
    if WORDS.encode() not in said:
        sys.exit(f"sam local invoke: {said.decode(errors='replace')[-3000:]}")
    report = next(
        (line for line in said.decode(errors="replace").splitlines() if line.startswith("REPORT")), ""
    )
    told("sam local invoke: the same words came out", report.expandtabs(2), "")


def bill_of_materials(told: Told) -> None:
    """Say what the image's own list names inside the av wheel."""
    text = run("docker", "run", "--rm", "--entrypoint=cat", TAG, "/opt/v/sbom.cdx.json")
    components = json.loads(text)["components"]
    inside = next(c for c in components if c["name"] == "av")["components"]
    named = [f"{c['name']} {c.get('version', '')}".strip() for c in inside]
    told(f"SBOM: {len(components)} packages; inside av: {', '.join(named)}", "")


def imported(told: Told) -> None:
    """Measure in the image what importing the function's code costs."""
    code = "import time; a = time.perf_counter(); import whisper_lambda.aws.environment"
    code += "; print(time.perf_counter() - a)"
    spent = sorted(
        float(run("docker", "run", "--rm", "--entrypoint=/opt/v/bin/python", TAG, "-c", code))
        for _ in range(5)
    )
    told(
        f"import of the function's code: median {spent[2]:.2f} s of {', '.join(f'{s:.2f}' for s in spent)}",
        "",
    )


def main() -> None:
    """Prove it, or say what failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base")
    parser.add_argument("--model", default="base")
    parser.add_argument("--log", type=Path, default=ROOT / "build/image-test.log")
    asked = parser.parse_args()
    told = Told(asked.log)
    with tempfile.TemporaryDirectory(prefix="wl-image-") as name:
        folder = Path(name)
        with daemon(folder):
            told(time.strftime("whisper-lambda image test, %Y-%m-%d %H:%M UTC", time.gmtime()))
            build(folder, asked.base or stand_in(folder, told), asked.model, told)
            layers(told)
            bill_of_materials(told)
            with_emulator(folder)
            imported(told)
            key, kept = keys(folder)
            container(key, kept, told)
            served(key, kept, told)
            sam(folder, key, kept, told)
            told("all of it held")


if __name__ == "__main__":
    main()
