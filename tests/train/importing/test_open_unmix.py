"""Open-Unmix's weights, random ones in its layout: agreement with its definition, refusals."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
import torch

from helpers.small_models import song
from viso import Separator
from viso.dsp.stft import istft, stft
from viso.errors import ModelError
from viso.models.onnx import OnnxModel
from viso.train.importing import Wishes, import_model
from viso.train.importing._states import read_state

BINS, SEEN, HIDDEN = 129, 90, 24
SAID = Wishes(licence="MIT", name="umx", chunk_frames=96, context_frames=24)


def layout(*, n_channels=2, both_ways=True, seed=0):
    """A random state dict with the names and shapes of the published ones."""
    random = np.random.default_rng(seed)
    state = {
        "input_mean": random.normal(-0.1, 0.05, SEEN),
        "input_scale": random.uniform(0.5, 2, SEEN),
        "output_scale": random.uniform(0.2, 0.4, BINS),
        "output_mean": random.uniform(0.2, 0.6, BINS),
        "stft.window": np.ones(256),
    }

    def dense(name, outputs, inputs):
        state[f"{name}.weight"] = random.normal(0, 1 / np.sqrt(inputs), (outputs, inputs))

    def norm(name, width):
        state[f"{name}.weight"], state[f"{name}.running_var"] = random.uniform(0.5, 1.5, (2, width))
        state[f"{name}.bias"], state[f"{name}.running_mean"] = random.normal(0, 0.3, (2, width))
        state[f"{name}.num_batches_tracked"] = np.array(7)

    dense("fc1", HIDDEN, n_channels * SEEN)
    norm("bn1", HIDDEN)
    cells = HIDDEN // 2 if both_ways else HIDDEN
    for layer in range(3):
        for way in ("", "_reverse")[: 1 + both_ways]:
            for kind, inputs in (("ih", HIDDEN), ("hh", cells)):
                bound = 1 / np.sqrt(cells)
                for leaf, shape in (("weight", (4 * cells, inputs)), ("bias", 4 * cells)):
                    name = f"lstm.{leaf}_{kind}_l{layer}{way}"
                    state[name] = random.uniform(-bound, bound, shape)
    dense("fc2", HIDDEN, 2 * HIDDEN)
    norm("bn2", HIDDEN)
    dense("fc3", n_channels * BINS, HIDDEN)
    norm("bn3", n_channels * BINS)
    return {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in state.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recurrent(w, x, end):
    """One direction of one layer, frame by frame [shape=(frames, cells)]."""
    gates_of_input = x @ w[f"lstm.weight_ih_{end}"].T + w[f"lstm.bias_ih_{end}"]
    hidden = cell = np.zeros(w[f"lstm.weight_hh_{end}"].shape[1])
    given = []
    for gates in gates_of_input:
        gates = gates + w[f"lstm.weight_hh_{end}"] @ hidden + w[f"lstm.bias_hh_{end}"]
        enter, forget, new, out = np.split(gates, 4)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(out) * np.tanh(cell)
        given.append(hidden)
    return np.stack(given)


def reference(state, magnitude):
    """The mask by its definition, in float64 [shape=(channels, bins, frames)], as `magnitude`."""
    w = {name: value.double().numpy() for name, value in state.items()}

    def norm(x, name):
        x = (x - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    n_channels, _, n_frames = magnitude.shape
    seen = (magnitude[:, :SEEN].transpose(2, 0, 1) + w["input_mean"]) * w["input_scale"]
    x = np.tanh(norm(seen.reshape(n_frames, -1) @ w["fc1.weight"].T, "bn1"))
    heard = x
    for layer in range(3):
        parts = [recurrent(w, heard, f"l{layer}")]
        if "lstm.weight_ih_l0_reverse" in w:
            parts.append(recurrent(w, heard[::-1], f"l{layer}_reverse")[::-1])
        heard = np.concatenate(parts, axis=1)
    x = np.concatenate([x, heard], axis=1) @ w["fc2.weight"].T
    x = norm(np.maximum(norm(x, "bn2"), 0) @ w["fc3.weight"].T, "bn3")
    x = x.reshape(n_frames, n_channels, BINS) * w["output_scale"] + w["output_mean"]
    return np.maximum(x, 0).transpose(1, 2, 0)


def relative_db(error, truth):
    return 10 * np.log10(np.sum(np.abs(error) ** 2) / np.sum(np.abs(truth) ** 2))


def saved(folder, state, name="vocals.pth"):
    torch.save(state, folder / name)
    return folder / name


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("both_ways", [True, False])
def test_it_is_open_unmix_by_its_definition(tmp_path, n_channels, both_ways):
    state = layout(n_channels=n_channels, both_ways=both_ways)
    done = import_model(saved(tmp_path, state), SAID, folder=tmp_path)
    model = OnnxModel(done.path)
    assert model.card.channels == n_channels
    mixture = song(n_channels, 95 * 64)
    chunk = stft(mixture, config=model.card.spectral)
    expected = (reference(state, np.abs(chunk)) * chunk)[:, :, 24:-24]
    # Weights that are as wide as 4096 numbers are rounded to float16, and such are here, too.
    assert relative_db(model.estimate(chunk) - expected, expected) < -65
    assert 0.01 < np.mean(np.abs(expected)) / np.mean(np.abs(chunk)) < 3


def test_chunks_with_context_are_the_song_at_once(tmp_path):
    """But for its ends, before and after which a chunk hears silence and the original nothing."""
    state = layout()
    separator = Separator(import_model(saved(tmp_path, state), SAID, folder=tmp_path).path)
    mixture = song(2, 400 * 64)
    frames = stft(mixture, config=separator.card.spectral)
    whole = reference(state, np.abs(frames)) * frames
    stems = separator.separate(mixture, rate_hz=44_100)
    whole = istft(
        whole.astype(np.complex64), config=separator.card.spectral, n_samples=mixture.shape[1]
    )
    inside = slice(40 * 64, -40 * 64)
    error = (stems.vocals - whole)[:, inside]
    assert relative_db(error, whole[:, inside]) < -60
    parts = list(separator.stream(np.array_split(mixture, 5, axis=1), rate_hz=44_100, n_channels=2))
    assert np.array_equal(np.concatenate([v for v, _ in parts], axis=1), stems.vocals)


def test_its_card(tmp_path):
    path = saved(tmp_path, layout(), "vocals-b62c.pth")
    done = import_model(path, Wishes(licence="CC BY-NC-SA 4.0"), folder=tmp_path / "own")
    card = OnnxModel(done.path).card
    assert card.name == "open-unmix-vocals-b62c"
    assert card.licence == "CC BY-NC-SA 4.0"
    assert "vocals-b62c.pth" in card.origin
    assert (card.spectral.n_fft, card.spectral.hop, card.spectral.rate_hz) == (256, 64, 44_100)
    assert (card.chunk_frames, card.context_frames) == (1024, 128)
    assert card.target == "vocals"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_a_file_whose_name_is_no_text(tmp_path):
    path = saved(tmp_path, layout()).rename(tmp_path / os.fsdecode(b"vocals-\xe9.pth"))
    card = import_model(path, SAID, folder=tmp_path / "own").card
    assert r"vocals-\udce9.pth, sha256 " in card.origin


def test_the_json_beside_it(tmp_path):
    path = saved(tmp_path, {"state_dict": layout()}, "vocals.pth")
    facts = {"nfft": 256, "nhop": 32, "sample_rate": 22_050, "nb_channels": 2}
    (tmp_path / "separator.json").write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "vocals.json").write_text(
        json.dumps({"args": {"target": "vocals", "nhop": 64}}), encoding="utf-8"
    )
    card = import_model(path, SAID, folder=tmp_path).card
    assert (card.spectral.rate_hz, card.spectral.hop) == (22_050, 64)


# What is refused


def refused(path, reason, *, wishes=SAID, **how):
    folder = path.parent / "out"
    with pytest.raises(ModelError, match=reason) as caught:
        import_model(path, wishes, folder=folder, **how)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("bn3.bias"), r"has no bn3\.bias"),
        (lambda s: s.pop("input_mean"), "has no input_mean, so it is no Open-Unmix"),
        (lambda s: s.pop("lstm.weight_ih_l0"), r"has no lstm\.weight_ih_l0"),
        (lambda s: s.update({"fc3.weight": torch.zeros(5, 5)}), r"fc3\.weight is \[5, 5\], not"),
        (lambda s: s.update({"fc1.weight": torch.zeros(5, 5)}), r"fc1\.weight is \[5, 5\], which"),
        (lambda s: s.update({"bn1.bias": torch.full((HIDDEN,), torch.inf)}), "NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, reason):
    state = layout()
    change(state)
    refused(saved(tmp_path, state), reason)


def test_no_weights(tmp_path):
    path = tmp_path / "a.pth"
    for content in (b"", b"no weights"):
        path.write_bytes(content)
        refused(path, "no weights that torch can read")
    torch.save([1, 2], path)
    refused(path, "holds no weights, but list")


def test_a_licence_must_be_said(tmp_path):
    refused(saved(tmp_path, layout()), "Say --licence.*--licence unknown", wishes=Wishes())


def test_another_target(tmp_path):
    refused(saved(tmp_path, layout(), "drums-69e0.pth"), "its target is drums")
    path = saved(tmp_path, layout(), "mine.pth")
    path.with_suffix(".json").write_text('{"args": {"target": "bass"}}', encoding="utf-8")
    refused(path, "its target is bass")
    wishes = SAID.model_copy(update={"target": "instrumental"})
    assert import_model(path, wishes, folder=tmp_path).card.target == "instrumental"
    path.with_suffix(".json").write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError, match=r"mine\.json: no JSON of Open-Unmix"):
        import_model(path, SAID, folder=tmp_path)


def test_what_its_target_is_called(tmp_path):
    named = layout()
    for said in ("accompaniment", "instrumental"):
        card = import_model(saved(tmp_path, named, f"{said}-1.pth"), SAID, folder=tmp_path / said)
        assert card.card.target == "instrumental"
    path = saved(tmp_path, named, "mine.pth")
    for said, target in (("accompaniment", "instrumental"), ("vocals", "vocals")):
        path.with_suffix(".json").write_text(json.dumps({"args": {"target": said}}), "utf-8")
        done = import_model(path, SAID, folder=tmp_path / "own", overwrite=True)
        assert done.card.target == target
    # What it is called tells nothing, what the JSON says does.
    path.with_suffix(".json").write_text('{"args": {"target": "piano"}}', encoding="utf-8")
    refused(path, "its target is piano")


@pytest.mark.parametrize("as_zip", [True, False])
def test_damage_anywhere_in_the_pickle(tmp_path, as_zip):
    """A byte that is another makes the file unusable, or a weight wrong, and is no crash."""
    path = tmp_path / "a.pth"
    torch.save(layout(), path, _use_new_zipfile_serialization=as_zip)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    place = whole.index(b"input_mean")
    told = set()
    for position, value in zip(
        place + random.integers(0, 1500, 300), random.integers(0, 256, 300), strict=True
    ):
        path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
        try:
            read_state(path, origin="a.pth")
        except ModelError as error:
            told.add(str(error)[:40])
    assert any("no weights that torch can read" in reason for reason in told)


def test_what_is_not_to_choose(tmp_path):
    wishes = SAID.model_copy(update={"gain": 2.0})
    refused(
        saved(tmp_path, layout()), "gain is not to choose of this kind, open-unmix", wishes=wishes
    )
