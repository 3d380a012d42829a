"""New lines in a folder: which they are, and that what stops one of them stops none of the others."""

from __future__ import annotations

import shutil
from pathlib import Path

from deploy.bundles.registry import Registry
from flows.adapt.new_lines import new_lines
from pipeline.settings import Settings
from tests.flows.adapted_home import SIZE
from tests.flows.command import Command
from tests.parts.plant import bundle_files, make_draft


def test_a_registered_line_is_not_new_in_another_form_of_unicode(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    registry.add(make_draft(line="Fl\u00e4che"), bundle_files())
    for name in ("Fla\u0308che", "Fla\u0308chen"):
        (tmp_path / "incoming" / name).mkdir(parents=True)
    assert new_lines(tmp_path / "incoming", Settings(home=tmp_path / "home")) == ["Fla\u0308chen"]


def test_a_folder_whose_name_no_line_can_have(linewise: Command, line: Path, home: Path) -> None:
    incoming, too_long = home / "incoming", "a" * 81
    shutil.copytree(line, incoming / "fresh")
    (incoming / too_long).mkdir()
    (incoming / "a file.txt").touch()
    flags = ("--learner", "memory_bank", "--size", SIZE, "--good", 2, "--defects", 2)
    code, out, err = linewise("adapt-new-lines", *flags)
    assert code == 1
    assert out.strip() == "fresh: adapted"
    assert f"{too_long}: expected line to have at most 80 characters" in err
    assert Registry(home).lines() == ["fresh"]


def test_what_systems_leave_is_no_new_line(tmp_path: Path) -> None:
    for name in ("caps", "@eaDir", "#recycle", "__MACOSX", "System Volume Information", ".Trash-1000", "$RECYCLE.BIN"):
        (tmp_path / "incoming" / name).mkdir(parents=True)
    assert new_lines(tmp_path / "incoming", Settings(home=tmp_path / "home")) == ["caps"]
