"""The attacks of tests/unit/audio/test_hostile.py, as files somebody hands to the command."""

from pathlib import Path

from test_hostile import ATTACKS, SUFFIXES

from cli.conftest import Cli


def test_every_attack_is_told_by_name_and_the_good_file_beside_them_is_heard(
    cli: Cli, tmp_path: Path, short: Path
) -> None:
    files = {}
    for number, (name, (content, error)) in enumerate(ATTACKS.items()):
        path = tmp_path / f"attack-{number}{SUFFIXES.get(name, '')}"
        path.write_bytes(content)
        files[path.name] = error.code

    ran = cli("transcribe", short, *files, "--vad", "off", WHISPER_LAMBDA_MAX_AUDIO_S="30")
    told = ran.stderr.decode()

    assert ran.returncode == 1
    assert ran.stdout == b"Hola a todos.\n"
    assert "Traceback" not in told
    for name, code in files.items():
        assert any(name in line and code in line for line in told.splitlines()), (name, code, told)
