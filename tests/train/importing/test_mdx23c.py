"""MDX23C: agreement with another implementation at random weights; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra [train]")
yaml = pytest.importorskip("yaml", reason="needs the extra [train]")

from helpers.small_models import song  # noqa: E402
from viso import Separator  # noqa: E402
from viso.errors import VisoError  # noqa: E402
from viso.models.onnx import OnnxModel  # noqa: E402
from viso.train.importing import Wishes, import_model  # noqa: E402
from viso.train.importing.mdx23c import TfcTdf3, TfcTdf3Settings  # noqa: E402

# So small that no weight is stored as float16.
AUDIO = {
    "chunk_size": 128 * 31,
    "dim_f": 256,
    "dim_t": 32,
    "hop_length": 128,
    "n_fft": 512,
    "num_channels": 2,
    "sample_rate": 44_100,
}
MODEL = {
    "act": "gelu",
    "bottleneck_factor": 4,
    "growth": 4,
    "norm": "InstanceNorm",
    "num_blocks_per_scale": 2,
    "num_channels": 8,
    "num_scales": 2,
    "num_subbands": 4,
    "scale": [2, 2],
}
SAID = Wishes(licence="MIT", name="mdx23c", context_frames=0)


def settings(*, n_stems=2, **changes):
    values = {
        "n_stems": n_stems, "n_channels": 2, "n_bins": 256, "n_subbands": 4, "width": 8,
        "growth": 4, "n_scales": 2, "n_blocks": 2, "scale": (2, 2), "bottleneck": 4,
        "norm": "InstanceNorm", "act": "gelu",
    }  # fmt: skip
    return TfcTdf3Settings(**{**values, **changes})


def sections(*, audio=None, model=None, training=None):
    return {
        "audio": {**AUDIO, **(audio or {})},
        "model": {**MODEL, **(model or {})},
        "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None}
        | (training or {}),
    }


def configuration(folder, **changes):
    path = folder / "config.yaml"
    text = yaml.safe_dump(sections(**changes))
    # As the toolkits write it; a safe loader knows no tuples.
    text = text.replace("  scale:\n", "  scale: !!python/tuple\n")
    path.write_text(text, encoding="utf-8")
    return path


def saved(folder, state, name="mdx23c.ckpt"):
    torch.save(state, folder / name)
    return folder / name


def relative_db(error, signal):
    return 20 * math.log10(np.linalg.norm(error) / np.linalg.norm(signal) + 1e-30)


def randomised(network):
    """Norms that do something, as trained ones do."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5, generator=generator)
            if name.endswith("bias"):
                value.sub_(1)
    return network


def reference(changes):
    """Another implementation's weights, its spectrum of a song, and the spectra of its stems."""
    module = pytest.importorskip("pymss_core.modules.mdx23c_tfc_tdf_v3", reason="needs pymss-core")
    config = pytest.importorskip("pymss_core.config").to_attrdict(sections(**changes))
    torch.manual_seed(1)
    network = randomised(module.TFC_TDF_net(config).eval())
    given = []
    inverse = network.stft.inverse
    network.stft.inverse = lambda spectra: (given.append(spectra), inverse(spectra))[1]
    audio = torch.from_numpy(song(2, AUDIO["chunk_size"]))[None]
    with torch.no_grad():
        network(audio)
        return network.state_dict(), network.stft(audio), given[0]


VARIANTS = {
    "two stems": ({}, {}),
    "one stem": ({"training": {"target_instrument": "Vocals"}}, {"n_stems": 1}),
    "batch norm, relu": (
        {"model": {"norm": "BatchNorm", "act": "relu"}}, {"norm": "BatchNorm", "act": "relu"}
    ),
    "group norm, elu": (
        {"model": {"norm": "GroupNorm2", "act": "elu0.7"}}, {"norm": "GroupNorm2", "act": "elu0.7"}
    ),
    "frames by 4": ({"model": {"scale": [4, 2]}}, {"scale": (4, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_and_its_file_are_the_original(tmp_path, variant):
    changes, other = VARIANTS[variant]
    state, seen, expected = reference(changes)
    network = TfcTdf3(settings(**other)).eval()
    assert set(network.state_dict()) == set(state)
    network.load_state_dict(state)
    with torch.no_grad():
        found = network(seen.transpose(2, 3)).transpose(2, 3)
    expected = expected.reshape(found.shape)
    assert relative_db(found - expected, expected) < -100

    path = configuration(tmp_path, **changes)
    done = import_model(saved(tmp_path, state), SAID, config=path, folder=tmp_path)
    model = OnnxModel(done.path)
    assert (model.card.chunk_frames, model.card.n_bins, model.card.target) == (32, 256, "vocals")
    parts, wanted = seen[0].numpy(), expected[0, :4].numpy()
    chunk = np.zeros((2, 257, 32), np.complex64)
    chunk[:, :256] = parts[0::2] + 1j * parts[1::2]
    wanted = wanted[0::2] + 1j * wanted[1::2]
    estimate = model.estimate(chunk)
    assert relative_db(estimate[:, :256] - wanted, wanted) < -100
    assert not estimate[:, 256:].any()


def test_a_song(tmp_path):
    """Chunk by chunk; the stems sum to the song; the second stem is the instrumental."""
    source = saved(tmp_path, randomised(TfcTdf3(settings())).state_dict())
    mixture = song(2, 128 * 200)
    for target in ("vocals", "instrumental"):
        wishes = Wishes(licence="MIT", name=target, target=target, chunk_frames=64)
        done = import_model(source, wishes, config=configuration(tmp_path), folder=tmp_path)
        card = done.card
        assert (card.target, card.chunk_frames, card.context_frames) == (target, 64, 8)
        assert card.parameters == sum(value.numel() for value in torch.load(source).values())
        stems = Separator(done.path).separate(mixture, rate_hz=44_100)
        assert np.abs(stems.vocals + stems.instrumental - mixture).max() < 1e-6
        assert np.abs(stems.vocals).max() > 1e-4


# What is refused


def refused(folder, reason, *, wishes=SAID, state=None, **changes):
    source = folder / "mdx23c.ckpt"
    if state is not None or not source.exists():
        saved(folder, state or TfcTdf3(settings()).state_dict())
    with pytest.raises(VisoError, match=reason) as caught:
        import_model(source, wishes, config=configuration(folder, **changes), folder=folder / "out")
    assert "\n" not in str(caught.value)
    assert "config.yaml" in str(caught.value) or "mdx23c.ckpt" in str(caught.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": {"attention": 1}}, r"model\.attention is not known"),
        ({"model": {"norm": "LayerNorm"}}, r"model\.norm is 'LayerNorm'; viso knows"),
        ({"model": {"norm": None}}, r"model\.norm is None, not of type str"),
        ({"model": {"norm": "GroupNorm3"}}, "GroupNorm3, which does not divide"),
        ({"model": {"act": "swish"}}, r"model\.act is 'swish'; viso knows"),
        ({"model": {"num_scales": 99}}, r"model\.num_scales is 99; it must be from 1 to"),
        ({"model": {"num_channels": -8}}, r"model\.num_channels is -8; it must be"),
        ({"model": {"num_channels": 10**12}}, r"model\.num_channels is 1000000000000"),
        ({"model": {"num_channels": 8.5}}, r"model\.num_channels is 8\.5, not of type int"),
        ({"model": {"scale": [2]}}, r"model\.scale is .*, no list of 2 numbers"),
        ({"model": {"bottleneck_factor": 40}}, "the smallest scale has only 16 bins"),
        ({"model": {"growth": 8}}, r"is \[.*\], not \["),
        ({"model": {"num_blocks_per_scale": 1}}, r"which its configuration does not describe"),
        ({"model": {"num_blocks_per_scale": 3}}, r"has no .*blocks\.2"),
        ({"audio": {"dim_f": 250}}, r"audio\.dim_f is 250; .* need a multiple of 16"),
        ({"audio": {"dim_f": 512}}, "n_bins 512 are more than n_fft 512 has"),
        ({"audio": {"chunk_size": 128 * 32}}, r"gives 33 frames, which is no multiple of 4"),
        ({"audio": {"hop_length": 250, "chunk_size": 7750}}, "at least 3 times hop"),
        ({"audio": {"n_fft": "512"}}, r"audio\.n_fft is '512', not of type int"),
        ({"audio": {"num_channels": 6}}, r"audio\.num_channels is 6"),
        ({"training": {"instruments": ["Reverb", "Dry"]}}, "no vocals among its stems Reverb, Dry"),
        ({"training": {"instruments": None}}, r"training\.instruments is None"),
        ({"training": {"target_instrument": "Drums"}}, "its only stem is Drums"),
    ],
)  # fmt: skip
def test_configurations(tmp_path, changes, reason):
    refused(tmp_path, reason, **changes)


def test_wishes_that_do_not_fit(tmp_path):
    refused(tmp_path, "chunk_frames 30 is no", wishes=Wishes(licence="MIT", chunk_frames=30))
    refused(tmp_path, "leave nothing between", wishes=Wishes(licence="MIT", context_frames=16))
    refused(tmp_path, "Say --licence", wishes=Wishes())


def test_damaged_weights(tmp_path):
    whole = saved(tmp_path, TfcTdf3(settings()).state_dict()).read_bytes()
    for end in (100, len(whole) // 2, len(whole) - 30):
        (tmp_path / "mdx23c.ckpt").write_bytes(whole[:end])
        refused(tmp_path, "no weights that torch can read")
