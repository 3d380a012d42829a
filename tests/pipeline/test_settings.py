"""Settings: from the environment, confined to the home folder."""

import stat
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, StorageError
from pipeline.settings import Device, JpegDecoder, Settings, load_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "DATABASE_URL", "DEVICE", "WORKERS", "FEATURE_CACHE", "JPEG_DECODER"):
        monkeypatch.delenv(f"LINEWISE_{name}", raising=False)


def test_defaults_lie_below_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings()
    assert settings.home == tmp_path / ".linewise"
    for path in (settings.features, settings.runs):
        assert path.is_relative_to(settings.home)
    assert settings.database == f"sqlite:///{tmp_path / '.linewise' / 'results.sqlite'}"
    assert settings.device is Device.AUTO
    assert settings.jpeg_decoder is JpegDecoder.LIBJPEG
    assert not settings.home.exists(), "reading the settings writes nothing"


def test_environment_overrules_defaults(monkeypatch, tmp_path):
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "plant"))
    monkeypatch.setenv("LINEWISE_DATABASE_URL", "postgresql+psycopg://user:secret@db/results")
    monkeypatch.setenv("LINEWISE_DEVICE", "cuda")
    monkeypatch.setenv("LINEWISE_WORKERS", "3")
    monkeypatch.setenv("LINEWISE_JPEG_DECODER", "nvjpeg")
    monkeypatch.setenv("LINEWISE_FEATURE_CACHE", str(tmp_path / "fast"))
    monkeypatch.setenv("LINEWISE_TEMPLATE_CACHE", str(tmp_path / "graphs"))
    settings = load_settings()
    assert settings.templates == tmp_path / "graphs"
    assert settings.home == tmp_path / "plant"
    assert settings.jpeg_decoder is JpegDecoder.NVJPEG
    assert settings.database == "postgresql+psycopg://user:secret@db/results"
    assert (settings.device, settings.workers, settings.features) == (Device.CUDA, 3, tmp_path / "fast")
    assert "secret" not in repr(settings), "a log line must not give the password away"


def test_argument_overrules_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "a"))
    assert load_settings(tmp_path / "b").home == tmp_path / "b"


def test_empty_variables_count_as_unset(monkeypatch):
    monkeypatch.setenv("LINEWISE_WORKERS", "")
    monkeypatch.setenv("LINEWISE_HOME", "")
    assert load_settings().workers is None
    assert load_settings().home == Path("~/.linewise").expanduser()


def test_home_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_settings(Path("here")).home == tmp_path / "here"
    assert load_settings(Path("~/there")).home == Path.home() / "there"


@pytest.mark.parametrize(
    ("name", "value"), [("WORKERS", "0"), ("WORKERS", "many"), ("DEVICE", "tpu"), ("JPEG_DECODER", "opencv")]
)
def test_bad_value_is_one_sentence_naming_the_variable(monkeypatch, name, value):
    monkeypatch.setenv(f"LINEWISE_{name}", value)
    with pytest.raises(ConfigError, match=f"a usable LINEWISE_{name}, got '{value}' .*: change or unset") as caught:
        load_settings()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "component"),
    [
        ("pill", "pill"),
        ("mvtec/pill", "mvtec-pill"),
        ("../../etc", "etc"),
        ("/etc/passwd", "etc-passwd"),
        ("a b", "a-b"),
    ],
)
def test_names_cannot_leave_the_home_folder(tmp_path, part, component):
    settings = Settings(home=tmp_path)
    assert settings.below_home("reports", part) == tmp_path / "reports" / component


def test_every_line_has_a_folder_of_its_own(tmp_path):
    settings = Settings(home=tmp_path)
    names = ("a-b", "a/b", "a b", "a--b", "é", "è", "../a-b", "mvtec/pill")
    folders = [settings.line_folder("reports", name) for name in names]
    assert folders[0] == settings.below_home("reports", "a-b"), "a plain name's is what it was"
    assert len(set(folders)) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path / "reports"}
    assert folders[-1].name.startswith("mvtec-pill-")


@pytest.mark.parametrize("part", ["", "..", "///", "...", "é"])
def test_a_name_without_a_usable_character_is_refused(tmp_path, part):
    with pytest.raises(ConfigError, match="a name with a letter or a digit"):
        Settings(home=tmp_path).below_home(part)


def test_home_is_made_for_its_owner_alone(tmp_path):
    home = load_settings(tmp_path / "new" / "home").ensure_home()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="set LINEWISE_HOME to another folder"):
        load_settings(tmp_path / "file" / "home").ensure_home()


def test_a_run_takes_the_device_it_names_and_else_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_DEVICE", "cpu")
    settings = load_settings()
    assert settings.device_for(None) is Device.CPU
    assert settings.device_for(Device.AUTO) is Device.CPU  # a form's default keeps no worker from what it is told
    assert settings.device_for(Device.CUDA) is Device.CUDA
