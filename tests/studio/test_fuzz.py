"""Every operation of the OpenAPI, with input that fits it and input that does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helpers.live_studio import PATIENCE_S

if TYPE_CHECKING:
    from helpers.live_studio import Running, Separated

if importlib.util.find_spec("schemathesis") is None:
    pytest.skip("needs schemathesis", allow_module_level=True)

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
EXAMPLES = {"quick": 3, "slow": 40}


def operations(running: Running) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{running.client.base_url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def probe(operation: Any, known: dict[str, str], *, checks: list[Any], n_examples: int) -> int:
    """Call an operation, by known ids as often as by random ones; return how often."""
    n_calls = 0
    modes = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=QUIET,
        phases=[Phase.generate],
    )
    @given(case=st.one_of(modes), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        nonlocal n_calls
        if is_known and case.meta.generation.mode.is_positive:
            for name in set(case.path_parameters or {}) & set(known):
                case.path_parameters[name] = known[name]
        n_calls += 1
        case.call_and_validate(checks=checks, timeout=PATIENCE_S)

    ask()
    return n_calls


@pytest.mark.parametrize("pace", ["quick", pytest.param("slow", marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_the_api_is_what_it_says(running: Running, separated: Separated, pace: str) -> None:
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]
    known = {"job_id": separated.job["id"], "song_id": separated.song["id"]}
    found = operations(running)
    assert len(found) >= 16
    for operation in found:
        # What is deleted is asked for by random ids alone.
        ids = {} if operation.method.upper() == "DELETE" else known
        fit = [
            check
            for check in checks
            if check.__name__ != "positive_data_acceptance" or operation.path not in UNSAYABLE
        ]
        assert probe(operation, ids, checks=fit, n_examples=EXAMPLES[pace])
    assert running.client.get(separated.url).json()["state"] == "done"


# A schema cannot say what bytes are a song, what models are on offer and how long a song is.
UNSAYABLE = ("/api/songs", "/api/songs/{song_id}/jobs")
LEFT_OUT = {
    # Needs operations in a row, and links between them.
    "use_after_free",
    "ensure_resource_availability",
}


def test_every_problem_is_said_in_one_way(running: Running) -> None:
    schema = running.client.get("/openapi.json").json()
    for path, found in schema["paths"].items():
        for method, operation in found.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    (content,) = answer["content"].values()
                    assert content["schema"]["$ref"].endswith("/Problem"), (method, path, status)


def test_the_page_s_files_are_in_the_package() -> None:
    import viso.studio

    assert (Path(viso.studio.__file__).parent / "static" / "plain.css").is_file()
