"""RoFormers: agreement with another implementation at random weights; what is refused."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")
yaml = pytest.importorskip("yaml", reason="needs the extra [train]")

from helpers.small_models import song  # noqa: E402
from viso import Separator  # noqa: E402
from viso.errors import VisoError  # noqa: E402
from viso.models.onnx import OnnxModel  # noqa: E402
from viso.train.importing import Wishes, import_model, roformer  # noqa: E402
from viso.train.importing.roformer import mel_bands  # noqa: E402
from viso.train.importing.toolkit import ToolkitConfig  # noqa: E402

MODEL = {
    "depth": 2,
    "dim": 32,
    "dim_head": 16,
    "freq_transformer_depth": 1,
    "heads": 2,
    "mask_estimator_depth": 2,
    "num_stems": 1,
    "stereo": True,
    "stft_hop_length": 128,
    "stft_n_fft": 512,
    "stft_win_length": 512,
    "time_transformer_depth": 1,
}
BANDS = {"freqs_per_bands": [2] * 20 + [8] * 10 + [16] * 8 + [9]}
MEL = {"num_bands": 20, "sample_rate": 44_100}
FRAMES = 32
SAID = Wishes(licence="MIT", name="roformer", context_frames=0)


AUDIO = {"audio": {"chunk_size": 128 * (FRAMES - 1), "sample_rate": 44_100}}


def sections(model, *, training=None, length=AUDIO):
    return {
        **length,
        "model": {**MODEL, **model},
        "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"}
        | (training or {}),
    }


def configuration(folder, model, **changes):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(sections(model, **changes)), encoding="utf-8")
    return path


def saved(folder, state, name="roformer.ckpt"):
    torch.save(state, folder / name)
    return folder / name


VARIANTS = {
    "bs": (BANDS, {}),
    "bs, two stems, skips": (
        {**BANDS, "num_stems": 2, "skip_connection": True, "time_transformer_depth": 2}, {}
    ),
    "bs, without the lowest bin": ({**BANDS, "zero_dc": True}, {}),
    "mel": (MEL, {"mlp_hidden_layers": 2}),
    "mel, normalised": ({**MEL, "stft_normalized": True}, {}),
}  # fmt: skip


def reference(model, extra):
    """Another implementation, at random weights."""
    package = pytest.importorskip("pymss_core.modules.bs_roformer", reason="needs pymss-core")
    kind = package.BSRoformer if "freqs_per_bands" in model else package.MelBandRoformer
    torch.manual_seed(0)
    known = {"zero_dc": False}
    if kind is package.MelBandRoformer:
        known["match_input_audio_length"] = True
    network = kind(**{**MODEL, **known, **model, **extra}).eval()
    for name, value in network.named_parameters():
        if name.endswith("gamma"):
            value.data.uniform_(0.5, 1.5)
    return network


def transformed(audio):
    spectrum = torch.stft(audio, 512, 128, window=torch.hann_window(512), return_complex=True)
    parts = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
    return parts.reshape(1, 4, *parts.shape[2:])


def samples_of(parts, n_samples):
    spectrum = parts.reshape(2, 2, *parts.shape[1:]).permute(0, 3, 2, 1).contiguous()
    window = torch.hann_window(512)
    return torch.istft(torch.view_as_complex(spectrum), 512, 128, window=window, length=n_samples)


def relative_db(found, expected):
    error = np.linalg.norm(np.asarray(found) - np.asarray(expected))
    return 20 * math.log10(error / np.linalg.norm(np.asarray(expected)) + 1e-30)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_and_its_file_are_the_original(tmp_path, monkeypatch, variant):
    model, extra = VARIANTS[variant]
    original = reference(model, extra)
    # Parts of a few sequences, as large networks have them.
    monkeypatch.setattr(roformer, "_MOST_SCORES", 2 * 2 * FRAMES**2)
    audio = torch.from_numpy(song(2, 128 * (FRAMES - 1)))
    with torch.no_grad():
        expected = original(audio[None])
    n_stems = model.get("num_stems", 1)
    only = "vocals" if n_stems == 1 else None
    config = configuration(tmp_path, model, training={"target_instrument": only})
    nested = {"best_state": original.state_dict(), "state": {}, "epoch": 7}
    source = saved(tmp_path, nested)
    done = import_model(source, SAID, config=config, folder=tmp_path / "models")
    assert done.difference < 1e-5
    found = OnnxModel(done.path).run(transformed(audio).numpy())
    vocals = samples_of(torch.from_numpy(found[0]), audio.shape[1])
    assert relative_db(vocals, expected[0] if n_stems == 1 else expected[0, 0]) < -100
    weights = (v for name, v in original.named_parameters() if not name.endswith(".freqs"))
    assert done.card.parameters == sum(value.numel() for value in weights)


def test_an_imported_model_separates(tmp_path):
    original = reference(BANDS, {})
    config = configuration(tmp_path, BANDS)
    said = Wishes(licence="MIT", name="roformer", context_frames=4)
    source = saved(tmp_path, original.state_dict())
    done = import_model(source, said, config=config, folder=tmp_path)
    stems = Separator(done.path).separate(song(1, 20_000), rate_hz=44_100)
    assert stems.vocals.shape == (1, 20_000) and stems.vocals.any()
    assert (done.card.chunk_frames, done.card.context_frames) == (FRAMES, 4)


@pytest.mark.parametrize(
    ("length", "frames"),
    [
        ({"inference": {"chunk_size": 128 * 39}}, 40),
        ({"inference": {"dim_t": 24}}, 24),
        ({"inference": {"chunk_size": 128 * 9}, **AUDIO}, FRAMES),
        ({}, None),
    ],
)
def test_where_the_length_of_a_chunk_stands(tmp_path, length, frames):
    source = saved(tmp_path, state_of(BANDS))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"audio": {}, **sections(BANDS, length=length)}))
    if frames is None:
        with pytest.raises(VisoError, match="dim_t is None"):
            import_model(source, SAID, config=path, folder=tmp_path)
        said = SAID.model_copy(update={"chunk_frames": 16})
        frames = 16
    else:
        said = SAID
    done = import_model(source, said, config=path, folder=tmp_path)
    assert done.card.chunk_frames == frames


def test_the_bands_are_those_of_the_mel_scale():
    bands = mel_bands(44_100, n_fft=2048, n_bands=60)
    assert len(bands.edges) == 60 and min(bands.counts) == 1 and max(bands.counts) == 2
    assert (bands.edges[0][0], bands.edges[-1][1]) == (0, 1025)
    reference = pytest.importorskip("pymss_core.modules._dsp", reason="needs pymss-core")
    bank = np.array(reference.mel_filterbank(sr=44_100, n_fft=2048, n_mels=60))
    bank[0, 0] = bank[-1, -1] = 1
    for row, (first, stop) in zip(bank, bands.edges, strict=True):
        assert np.array_equal(np.flatnonzero(row > 0), np.arange(first, stop))


def state_of(model):
    """Weights of a network of ours."""
    parts = sections(model)
    config = ToolkitConfig(Path("config.yaml"), {}, parts["model"], parts["training"])
    # What is read from the weights: two dense layers of a mask, a norm at the end.
    names = [f"mask_estimators.0.to_freqs.0.0.{number}.weight" for number in (0, 2)]
    known = dict.fromkeys([*names, "final_norm.gamma"])
    return roformer.RoFormer(
        roformer._settings(config, known, roformer._spectral(config))
    ).state_dict()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dim": 16}, "is .* not"),
        ({"depth": 3}, "has no layers.2"),
        ({"depth": 1}, "which its configuration does not describe"),
        ({"heads": 0}, "model.heads is 0"),
        ({"dim": "wide"}, "model.dim is 'wide'"),
        ({"stft_n_fft": 511}, "freqs_per_bands|n_fft"),
        ({"freqs_per_bands": [2, 3]}, "has 5 bins in 2 bands"),
        ({"linear_transformer_depth": 1}, "linear_transformer_depth above 0"),
        ({"use_pope": True}, "model.use_pope is not known"),
        ({"num_stems": 2}, "names 1 stems"),
    ],
)
def test_configurations_that_do_not_fit(tmp_path, changes, why):
    source = saved(tmp_path, state_of(BANDS))
    config = configuration(tmp_path, {**BANDS, **changes})
    with pytest.raises(VisoError, match=why) as caught:
        import_model(source, SAID, config=config, folder=tmp_path / "models")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("n_bands", [3000, 200])
def test_more_mel_bands_than_bins(tmp_path, n_bands):
    source = saved(tmp_path, state_of(BANDS))
    config = configuration(tmp_path, {**MEL, "num_bands": n_bands})
    with pytest.raises(VisoError, match=r"num_bands is 3000|200 mel bands do not fit"):
        import_model(source, SAID, config=config, folder=tmp_path / "models")


class Command:
    def __reduce__(self):
        return (eval, ("open('executed', 'w')",))


def test_damaged_files_and_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration(tmp_path, BANDS)
    torch.save({"state_dict": state_of(BANDS), "more": Command()}, tmp_path / "code.ckpt")
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(Command()))
    whole = saved(tmp_path, state_of(BANDS)).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    for name in ("code", "pickle", "cut"):
        with pytest.raises(VisoError, match=f"{name}.ckpt") as caught:
            import_model(tmp_path / f"{name}.ckpt", SAID, config=config, folder=tmp_path / "models")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "models").exists() and not (tmp_path / "executed").exists()
