"""Who made a bundle: signed, demanded, refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import sys
from pathlib import Path

import pytest

from deploy.bundles.bundle import load_bundle, sign_bundle, write_bundle
from deploy.bundles.packs import open_packed
from deploy.bundles.registry import Registry
from deploy.bundles.signatures import make_key, trust_key, trusted_keys
from deploy.engine.devices import resolve_device
from deploy.scoring.live_lines import LiveLines
from flows import cli
from flows.export import job as export_job
from flows.export.request import ExportRequest
from flows.score import job as score_job
from flows.score.request import ScoreRequest
from pipeline.errors import BundleError, ConfigError, StorageError
from pipeline.settings import Device, load_settings
from tests.deploy.bundles.test_bundle import reseal
from tests.parts.plant import bundle_files, make_draft, tree, write_image, write_plant

LINE = "mvtec/pill"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def key(home: Path) -> Path:
    """A private key of this machine, which trusts it."""
    return make_key("plant", load_settings())[0]


def demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_DEMAND_SIGNATURES", "1")


def test_nothing_is_signed_or_asked_for_unless_a_machine_is_set_to(home: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "v1", make_draft(), bundle_files())
    assert "manifest.sig" not in tree(bundle.path)
    assert load_bundle(bundle.path) == bundle


def test_a_bundle_made_where_a_key_is_set_is_signed_and_keeps_its_id(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned = write_bundle(tmp_path / "unsigned", make_draft(), bundle_files())
    monkeypatch.setenv("LINEWISE_SIGNING_KEY", str(key))
    signed = write_bundle(tmp_path / "signed", make_draft(), bundle_files())
    assert signed.id == unsigned.id
    assert set(tree(signed.path)) - set(tree(unsigned.path)) == {"manifest.sig"}
    demand(monkeypatch)
    assert load_bundle(signed.path) == signed
    with pytest.raises(BundleError, match="an unsigned one"):
        load_bundle(unsigned.path)


def test_every_way_to_open_a_bundle_refuses_an_unsigned_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = write_plant(home)
    pack = registry.pack(LINE, tmp_path / "pack")
    images = write_image(tmp_path / "images" / "0.png", brightness=20).parent
    demand(monkeypatch)
    live_lines = LiveLines(registry, resolve_device("cpu"))
    ways = {
        "score": lambda: score_job.run(ScoreRequest(line=LINE, images=str(images), device=Device.CPU), load_settings()),
        "score --bundle": lambda: score_job.run(
            ScoreRequest(line=LINE, images=str(images), device=Device.CPU, bundle=pack), load_settings()
        ),
        "score-plant": lambda: live_lines.open(LINE),
        "promote": lambda: registry.promote(LINE, "v1"),
        "export": lambda: export_job.run(ExportRequest(line=LINE, destination=tmp_path / "out"), load_settings()),
        "a pack": lambda: open_packed(pack),
        "registry import": lambda: Registry(tmp_path / "other").add_packed(pack),
    }
    for name, way in ways.items():
        with pytest.raises(
            BundleError, match=r"expected a bundle signed by a key of .*, got an unsigned one"
        ) as caught:
            way()
        assert "linewise registry sign" in str(caught.value), name
    assert not (tmp_path / "out").exists()
    registry.versions(LINE)  # listing opens nothing


def test_signing_what_is_there_opens_it_again_and_a_pack_carries_the_signature(
    key: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = write_plant(home)
    bundle = registry.live(LINE)
    demand(monkeypatch)
    assert registry.sign(LINE, None, key) == "v1"
    pack = registry.pack(LINE, tmp_path / "pack")
    assert (pack / "bundle" / "manifest.sig").is_file()
    public = load_settings().trusted_keys / "plant.pem"
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "another machine"))
    with pytest.raises(BundleError, match="unknown key"):
        open_packed(pack)
    trust_key("their plant", public.read_bytes(), load_settings())
    assert Registry(load_settings().home).add_packed(pack).id == bundle.id


def test_a_signature_of_something_else_is_refused(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_SIGNING_KEY", str(key))
    bundle = write_bundle(tmp_path / "v1", make_draft(), bundle_files())
    demand(monkeypatch)
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    manifest["threshold"]["reject"] = 1000.0  # nothing would be rejected any more
    reseal(bundle.path, manifest)
    with pytest.raises(BundleError, match=r"a signature by .* of something else"):
        load_bundle(bundle.path)
    for content in (b"", b"{}", b"[" * 100_000, b"x" * 100_000, b'{"key": "0", "signature": "0"}'):
        (bundle.path / "manifest.sig").write_bytes(content)
        with pytest.raises((BundleError, StorageError), match=r"manifest\.sig"):
            load_bundle(bundle.path)


def test_damage_is_not_signed(key: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "v1", make_draft(), bundle_files())
    (bundle.path / "head.onnx").write_bytes(b"another head")
    with pytest.raises(BundleError, match=r"head\.onnx"):
        sign_bundle(bundle.path, key)
    assert not (bundle.path / "manifest.sig").exists()


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_private_key_that_others_may_read_is_refused(key: Path, tmp_path: Path, mode: int) -> None:
    bundle = write_bundle(tmp_path / "v1", make_draft(), bundle_files())
    key.chmod(mode)
    with pytest.raises(ConfigError, match=f"of mode 600 at .*, got {mode:o}: chmod 600"):
        sign_bundle(bundle.path, key)


def test_what_is_no_key_is_refused(home: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "v1", make_draft(), bundle_files())
    for content in (b"", b"text", b"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="an Ed25519 private key"):
            sign_bundle(bundle.path, path)
        with pytest.raises(ConfigError, match="an Ed25519 public key"):
            trust_key("x", content, load_settings())


def test_a_key_is_made_for_its_owner_alone_and_never_written_over(key: Path, home: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert list(trusted_keys(load_settings())) == ["plant"]
    before = tree(home)
    with pytest.raises(StorageError, match="a new key's name"):
        make_key("plant", load_settings())
    with pytest.raises(ConfigError, match="a name with a letter"):
        make_key("../..", load_settings())
    assert tree(home) == before


def test_the_commands(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plant(home)

    def run(*arguments: str, **more: str) -> str:
        with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            patch.setattr(sys, "argv", ["linewise", *arguments])
            for name, value in more.items():
                patch.setenv(name, value)
            cli.main()
        return "".join(capsys.readouterr())

    assert "LINEWISE_SIGNING_KEY=" in run("keys", "make", "plant")
    key = str(home / "signing_keys" / "plant.pem")
    demanded = {"LINEWISE_DEMAND_SIGNATURES": "1"}
    assert "an unsigned one" in run("registry", "promote", LINE, "v1", **demanded)
    assert "expected a key to sign with" in run("registry", "sign", LINE)
    assert f"Signed: {LINE} v1" in run("registry", "sign", LINE, "--key", key)
    assert f"Live for {LINE}: v1" in run("registry", "promote", LINE, "v1", **demanded)
    assert "plant" in run("keys", "list")
    shutil.copy(home / "trusted_keys" / "plant.pem", tmp_path / "theirs.pem")
    assert "theirs.pem" in run("keys", "trust", str(tmp_path / "theirs.pem"))
