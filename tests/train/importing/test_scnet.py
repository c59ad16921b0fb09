"""SCNet: agreement with another implementation at random weights; what is refused."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")
yaml = pytest.importorskip("yaml", reason="needs the extra [train]")

from helpers.small_models import song  # noqa: E402
from viso import Separator  # noqa: E402
from viso.dsp.stft import stft  # noqa: E402
from viso.errors import ModelError, VisoError  # noqa: E402
from viso.models.onnx import OnnxModel  # noqa: E402
from viso.train.importing import Wishes, import_model  # noqa: E402
from viso.train.importing.scnet import ScNet, ScNetSettings  # noqa: E402

STEMS = ["drums", "vocals"]
# So small that no weight is stored as float16.
MODEL = {
    "sources": STEMS,
    "audio_channels": 2,
    "dims": [4, 8, 8, 8],
    "nfft": 256,
    "hop_size": 64,
    "win_size": 256,
    "normalized": True,
    "band_SR": [0.175, 0.392, 0.433],
    "band_stride": [1, 4, 16],
    "band_kernel": [3, 4, 16],
    "conv_depths": [3, 2, 1],
    "compress": 4,
    "conv_kernel": 3,
    "num_dplayer": 4,
    "expand": 1,
}
SETTINGS = ScNetSettings(
    n_stems=2, widths=(4, 8, 8, 8), shares=(0.175, 0.392), strides=(1, 4, 16), kernels=(3, 4, 16),
    depths=(3, 2, 1), compress=4, kernel=3, n_dual_paths=4, expand=1,
)  # fmt: skip
SAMPLES = 64 * 30 + 5  # 32 frames with the original's padding
SAID = Wishes(licence="MIT", name="scnet", context_frames=0)


def configuration(folder, *, model=None, training=None, **sections):
    """A YAML file as the training toolkits write them."""
    path = folder / "config.yaml"
    content = {
        "audio": {"chunk_size": SAMPLES, "num_channels": 2, "sample_rate": 44_100},
        "model": {**MODEL, **(model or {})},
        "training": {"instruments": ["Drums", "Vocals"], "target_instrument": None},
        **sections,
    }
    content["training"] |= training or {}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def random_state(seed=0, settings=SETTINGS):
    torch.manual_seed(seed)
    return ScNet(settings).state_dict()


def saved(folder, state, name="scnet.ckpt"):
    torch.save(state, folder / name)
    return folder / name


def relative_db(error, signal):
    return 20 * math.log10(np.linalg.norm(error) / np.linalg.norm(signal) + 1e-30)


@pytest.fixture(scope="module")
def reference():
    """The other implementation, the spectrum that it sees, and those of its stems."""
    scnet = pytest.importorskip("pymss_core.modules.scnet", reason="needs pymss-core")
    torch.manual_seed(1)
    network = scnet.SCNet(**MODEL).eval()
    seen = {}
    network.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    network.decoder[-1][1].register_forward_hook(lambda _, __, output: seen.update(y=output))
    audio = torch.from_numpy(song(2, SAMPLES))[None]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A window was not provided", UserWarning)
        network(audio)
    return network.state_dict(), seen["x"], seen["y"]


def test_the_network_is_the_original(reference):
    state, seen, expected = reference
    network = ScNet(SETTINGS).eval()
    assert set(network.state_dict()) == set(state)
    network.load_state_dict(state)
    with torch.no_grad():
        found = network(seen)
    assert found.shape == (1, 8, 129, 32)
    assert relative_db(found - expected, expected) < -100


@pytest.mark.parametrize("names", [["Drums", "Vocals"], ["vocals", "Electric Guitar"]])
@pytest.mark.parametrize("target", [None, "vocals"])
def test_the_imported_file_is_the_original(reference, tmp_path, names, target):
    state, seen, expected = reference
    path = configuration(tmp_path, training={"instruments": names})
    said = SAID.model_copy(update={"target": target})
    done = import_model(saved(tmp_path, {"state_dict": state}), said, config=path, folder=tmp_path)
    model = OnnxModel(done.path)
    assert model.card == done.card
    assert (model.card.chunk_frames, model.card.target) == (32, "vocals")
    assert model.card.spectral.window_type == "rectangular"
    # The original scales its transform by 1 / sqrt(n_fft).
    parts = seen[0].numpy() * 16
    chunk = (parts[0::2] + 1j * parts[1::2]).astype(np.complex64)
    parts = expected[0].numpy().reshape(2, 2, 2, *expected.shape[2:]) * 16
    wanted = parts[:, :, 0] + 1j * parts[:, :, 1]  # (stems, channels, bins, frames)
    if target:
        wanted = wanted[[name.lower() for name in names].index("vocals")]
        assert model.card.stems == ()
    else:
        known = {"Drums": "drums", "Vocals": "vocals", "Electric Guitar": "electric-guitar"}
        assert model.card.stems == tuple(known.get(name, name) for name in names)
    assert relative_db(model.estimate(chunk) - wanted, wanted) < -100


def test_a_song(tmp_path):
    """Chunk by chunk; the stems sum to the song."""
    path = configuration(tmp_path)
    wishes = Wishes(licence="MIT", chunk_frames=48)
    done = import_model(saved(tmp_path, random_state()), wishes, config=path, folder=tmp_path)
    assert done.card.name == "scnet"
    assert (done.card.chunk_frames, done.card.context_frames) == (48, 6)
    assert "arXiv 2401.13276; scnet.ckpt, sha256 " in done.card.origin
    mixture = song(2, 64 * 200)
    stems = Separator(done.path).separate(mixture, rate_hz=44_100, stems=["all"])
    assert tuple(stems) == ("vocals", "drums", "other", "instrumental")
    assert np.abs(stems.vocals + stems["drums"] + stems["other"] - mixture).max() < 1e-6
    assert np.abs(stems.vocals + stems.instrumental - mixture).max() < 1e-6
    assert np.abs(stems.vocals).max() > 1e-4


def test_a_network_that_wants_normalised_sound(tmp_path):
    source, network = saved(tmp_path, random_state()), Wishes(licence="MIT", chunk_frames=200)
    plain = configuration(tmp_path)
    raw = import_model(source, network, config=plain, folder=tmp_path / "raw")
    for sections in ({"inference": {"normalize": True}}, {"training": {"normalize": True}}):
        path = configuration(tmp_path, **sections)
        done = import_model(source, network, config=path, folder=tmp_path, overwrite=True)
        model = OnnxModel(done.path)
        random = np.random.default_rng(0)
        samples = random.standard_normal((2, 199 * 64)).astype(np.float32) * np.float32(0.03)
        frames = stft(samples, config=model.card.spectral)
        given = model.estimate(frames)
        assert relative_db(model.estimate(frames * np.float32(7)) / 7 - given, given) < -100
        # The level is that of the samples, but for the frames that reach beyond the ends.
        level = np.float32(samples.mean(axis=0).std())
        expected = OnnxModel(raw.path).estimate(frames / level) * level
        assert relative_db(given - expected, expected) < -35
        silence = np.zeros_like(frames)
        assert np.abs(model.estimate(silence)).max() < 1


# What is refused


def refused(folder, reason, *, wishes=SAID, state=None, config=None, **changes):
    source = folder / "scnet.ckpt"
    if state is not None or not source.exists():
        saved(folder, random_state() if state is None else state)
    config = config or configuration(folder, **changes)
    with pytest.raises(VisoError, match=reason) as caught:
        import_model(source, wishes, config=config, folder=folder / "out")
    assert "\n" not in str(caught.value)
    assert "config.yaml" in str(caught.value) or "scnet.ckpt" in str(caught.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mask": True}, r"model\.mask is not known"),
        ({"dims": [4, 8, -8]}, r"model\.dims is -8; it must be from 1 to"),
        ({"dims": [6, 8, 8, 8]}, r"the first of two to eight must be 4"),
        ({"dims": "many"}, r"model\.dims is 'many', no list"),
        ({"nfft": 10**9}, r"model\.nfft is 1000000000; it must be from 1 to"),
        ({"band_SR": [0.001, 0.001, 0.998]}, "too few bins"),
        ({"hop_size": 200}, "at least 3 times hop"),
        ({"win_size": 100}, "window"),
        ({"num_dplayer": 3}, r"model\.num_dplayer is 3, but must be even"),
        ({"conv_kernel": 4}, r"model\.conv_kernel is 4, but must be odd"),
        ({"compress": 100}, r"model\.compress is 100"),
        ({"band_SR": [0.5, 0.5, 0.5]}, r"model\.band_SR is .* sum to 1"),
        ({"band_SR": ["a", 0.5, 0.5]}, r"model\.band_SR is .* sum to 1"),
        ({"band_kernel": [3, 2, 16]}, r"band_kernel 2 does not fit band_stride 4"),
        ({"audio_channels": 3}, r"model\.audio_channels is 3"),
        ({"normalized": "perhaps"}, r"model\.normalized is 'perhaps', not of type bool"),
        ({"sources": ["vocals"]}, r"names 2 stems \(Drums, Vocals\), but its network gives 1"),
        ({"expand": 2}, r"lstm_layers.* is \[.*\], not \["),
        ({"dims": [4, 8, 8]}, r"has .*, which its configuration does not describe"),
        ({"dims": [4, 8, 8, 8, 8]}, "has no "),
    ],
)
def test_configurations(tmp_path, change, reason):
    refused(tmp_path, reason, model=change)


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"instruments": ["drums", "bass"]}, "no vocals among its stems drums, bass"),
        ({"instruments": 3}, r"training\.instruments is 3, no list"),
        ({"instruments": []}, "no list of the stems' names"),
        ({"normalize": "yes"}, "neither true nor false"),
    ],
)
def test_stems(tmp_path, training, reason):
    refused(tmp_path, reason, training=training)


def test_wishes_that_do_not_fit(tmp_path):
    refused(tmp_path, "chunk_frames 33 is odd", wishes=Wishes(licence="MIT", chunk_frames=33))
    refused(tmp_path, "leave nothing between", wishes=Wishes(licence="MIT", context_frames=16))
    refused(tmp_path, "Say --licence", wishes=Wishes())
    refused(tmp_path, "no instrumental", wishes=SAID.model_copy(update={"target": "instrumental"}))
    refused(
        tmp_path, "gain is not to choose", wishes=SAID.model_copy(update={"gain": 2.0}),
        config=configuration(tmp_path),
    )  # fmt: skip


def test_damaged_weights(tmp_path):
    state = random_state()
    wrong = {**state, "encoder.0.globalconv.weight": torch.zeros(8, 8, 3, 1)}
    refused(tmp_path, r"globalconv\.weight is \[8, 8, 3, 1\], not \[8, 8, 3, 3\]", state=wrong)
    wrong = {**state, "encoder.0.globalconv.bias": torch.full((8,), torch.nan)}
    refused(tmp_path, "NaN or infinity", state=wrong)
    refused(
        tmp_path, r"has mask\.0\.weight, which", state={**state, "mask.0.weight": torch.ones(2)}
    )
    whole = saved(tmp_path, state).read_bytes()
    for end in (100, len(whole) // 2, len(whole) - 30):
        (tmp_path / "scnet.ckpt").write_bytes(whole[:end])
        refused(tmp_path, "no weights that torch can read")


def test_nothing_is_executed(tmp_path):
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return (marker.touch, ())

    torch.save({**random_state(), "extra": Evil()}, tmp_path / "scnet.ckpt")
    refused(tmp_path, "no weights that torch can read")
    assert not marker.exists()


def test_one_stem_that_is_the_instrumental(tmp_path):
    state = random_state(settings=replace(SETTINGS, n_stems=1))
    source = saved(tmp_path, state)
    for said, target in (("Instrumental", "instrumental"), ("other", "instrumental")):
        path = configuration(
            tmp_path, model={"sources": [said]}, training={"target_instrument": said}
        )
        done = import_model(source, SAID, config=path, folder=tmp_path / said)
        assert done.card.target == target
    path = configuration(tmp_path, model={"sources": ["a"]}, training={"target_instrument": "lead"})
    with pytest.raises(ModelError, match=r"its only stem is lead.*say --target"):
        import_model(source, SAID, config=path, folder=tmp_path / "lead")
    said = SAID.model_copy(update={"target": "vocals"})
    assert import_model(source, said, config=path, folder=tmp_path / "lead").card.target == "vocals"
