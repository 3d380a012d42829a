"""Where the outer loop of meta-training runs: refusals, what is recorded and, where there are GPUs, training there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from flows.asking.learner_names import LearnerName
from flows.meta_train import job as meta_train
from flows.meta_train.processes import OneProcess, in_processes
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train.training_device import (
    TrainingPlace,
    expected_training_device,
    on_device,
    too_few,
    training_place,
)
from model_zoo.learning.tasks import CPU
from pipeline.errors import ConfigError, DeviceError
from pipeline.meta_model import load_meta_model
from pipeline.settings import Device, load_settings
from pipeline.synthetic.lines import write_lines
from tests.parts.failing_shares import killed, refused
from tests.parts.outer_loop import META, assert_equal_reports, fresh, toy_tasks, train

CUDA = torch.device("cuda", 0)


def gpus() -> int:
    """How many GPUs work here."""
    return 0 if training_place(Device.AUTO, 1).gpu is None else torch.cuda.device_count()


def needs_gpus(count: int) -> None:
    if gpus() < count:
        pytest.skip(f"needs {count} GPUs that torch can use")


def test_a_form_offers_what_trains_and_tensorrt_is_refused():
    assert MetaTrainRequest.model_json_schema()["properties"]["device"]["enum"] == ["cpu", "cuda", "auto"]
    assert MetaTrainRequest.model_validate({"lines": "x", "device": "cuda"}).device is Device.CUDA
    with pytest.raises(ValidationError, match=r"'cpu', 'cuda' or 'auto' \(TensorRT scores, it does not train\)"):
        MetaTrainRequest.model_validate({"lines": "x", "device": "tensorrt"})


def test_the_place_says_backend_device_and_processes():
    cpu, two = TrainingPlace(2), TrainingPlace(2, "NVIDIA X")
    assert (cpu.backend, cpu.device(1), cpu.note) == ("gloo", CPU, "cpu, 2 processes over gloo")
    assert (two.backend, two.device(1)) == ("nccl", torch.device("cuda", 1))
    assert two.note == "cuda (NVIDIA X), 2 processes over nccl"
    assert (TrainingPlace(1).note, TrainingPlace(1, "NVIDIA X").note) == ("cpu", "cuda (NVIDIA X)")


def test_each_process_needs_a_gpu_of_its_own():
    assert too_few(2, 2, nccl=True) is None
    assert too_few(1, 1, nccl=False) is None
    refused = too_few(3, 2, nccl=True)
    assert isinstance(refused, ConfigError)
    assert str(refused).startswith("expected a GPU for each process, got 3 processes for 2: ask for fewer processes")
    assert "expected NCCL" in str(too_few(2, 2, nccl=False))


def test_cuda_is_refused_in_one_sentence_where_it_does_not_work_and_auto_takes_the_cpu(tmp_path):
    if gpus():
        pytest.skip("this machine has a GPU")
    request = MetaTrainRequest(lines=tmp_path, device=Device.CUDA, output=tmp_path / "run")
    refusal = r"expected a GPU that torch can use, got none \(.+\): .+ --device cpu"
    with pytest.raises(DeviceError, match=refusal) as e:
        meta_train.run(request, load_settings(tmp_path / "home"))
    assert "\n" not in str(e.value)
    assert not (tmp_path / "run").exists()
    assert training_place(Device.AUTO, 3) == training_place(Device.CPU, 3) == TrainingPlace(3)
    with pytest.raises(DeviceError, match=refusal):  # before it waits for its turn
        expected_training_device(Device.CUDA, 1)
    assert expected_training_device(Device.AUTO, 1) is expected_training_device(Device.CPU, 1) is Device.CPU


def test_memory_that_does_not_suffice_is_one_sentence():
    with (
        pytest.raises(DeviceError, match="memory for an outer step, got CUDA out of memory: free it"),
        on_device(fresh("in_context"), torch.device("meta")),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore lines.")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("one_process", "got"),
    [
        (refused, "pipeline.errors.LineError: expected defective images, got none: add some"),
        (killed, "process 0 terminated with signal SIGKILL"),
    ],
)
def test_a_process_that_fails_says_why(one_process: OneProcess, got: str, tmp_path: Path):
    request, settings = MetaTrainRequest(lines=tmp_path), load_settings(tmp_path / "home")
    with pytest.raises(ConfigError) as caught:
        in_processes(one_process, request, settings, tmp_path, fresh("in_context"), TrainingPlace(1))
    assert str(caught.value) == f"expected 1 training processes to finish, got {got}: mend what it says"
    assert list(tmp_path.iterdir()) == []


def test_a_run_records_where_it_trained(tmp_path: Path):
    request = job_request(tmp_path, Device.AUTO, 1)
    result = meta_train.run(request, load_settings(tmp_path / "home"))
    place = training_place(Device.AUTO, 1)
    assert json.loads((result.run / "request.json").read_text())["device"] == "auto"
    assert load_meta_model(result.folder).trained_on == place.note
    assert f"**trained on**: {place.note}" in (result.folder / "card.md").read_text()
    assert all(value.device == CPU for value in result.model.weights.values())
    # The device is no part of what a run is: it goes on elsewhere.
    resumed = request.model_copy(update={"resume": True, "device": Device.CPU})
    assert meta_train.run(resumed, load_settings(tmp_path / "home")).model.identifier == result.model.identifier


def job_request(folder: Path, device: Device, processes: int) -> MetaTrainRequest:
    write_lines(folder / "lines", (1, 2), good=5, test_good=4, defects=6, size=96)
    return MetaTrainRequest(
        lines=folder / "lines",
        learner=LearnerName.HYPERNETWORK,
        size=64,
        iterations=10,
        good=2,
        defects=2,
        output=folder / "run",
        device=device,
        processes=processes,
    )


# --- where there are GPUs ------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("name", META)
def test_every_learner_trains_on_a_gpu_reproducibly_and_as_on_the_cpu(name: str):
    needs_gpus(1)
    tasks = toy_tasks(name)
    at_home, there, again = fresh(name), fresh(name), fresh(name)
    reports = train(there, tasks, CUDA)
    assert_equal_reports(reports, train(at_home, tasks, CPU), rtol=1e-2)
    assert train(again, tasks, CUDA) == reports
    for key, value in there.state_dict().items():
        assert value.device == CPU
        assert torch.equal(value, again.state_dict()[key])


@pytest.mark.gpu
@pytest.mark.parametrize(("first", "then"), [(CUDA, CPU), (CPU, CUDA)])
def test_a_run_goes_on_on_the_other_device(first: torch.device, then: torch.device, tmp_path: Path):
    needs_gpus(1)
    tasks = toy_tasks("maml_gan")
    train(fresh("maml_gan"), tasks, first, 2, run=tmp_path)
    resumed = train(fresh("maml_gan"), tasks, then, run=tmp_path, resume=True)
    assert_equal_reports(resumed, train(fresh("maml_gan"), tasks, CPU), rtol=1e-2)


@pytest.mark.gpu
def test_more_processes_than_gpus_are_refused_and_auto_takes_the_cpu():
    needs_gpus(1)
    with pytest.raises(ConfigError, match="a GPU for each process"):
        training_place(Device.CUDA, gpus() + 1)
    assert training_place(Device.AUTO, gpus() + 1) == TrainingPlace(gpus() + 1)
    assert expected_training_device(Device.AUTO, gpus() + 1) is Device.CPU
    assert expected_training_device(Device.AUTO, 1) is expected_training_device(Device.CUDA, 1) is Device.CUDA


@pytest.mark.gpu
def test_two_processes_average_their_gradients_over_nccl(tmp_path: Path):
    needs_gpus(2)
    result = meta_train.run(job_request(tmp_path, Device.CUDA, 2), load_settings(tmp_path / "home"))
    (tmp_path / "cpu").mkdir()
    on_cpus = meta_train.run(job_request(tmp_path / "cpu", Device.CPU, 2), load_settings(tmp_path / "home"))
    assert result.model.trained_on.endswith("2 processes over nccl")
    assert result.losses == pytest.approx(on_cpus.losses, rel=1e-2)
