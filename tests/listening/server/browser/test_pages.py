"""Listening sessions in a real browser: by mouse and by keyboard, interrupted, on a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from typer.testing import CliRunner

from helpers.listening_browser import served, violations, window
from helpers.listening_server import MAKER, ask, new_key, running
from helpers.simulated_listeners import make_song
from viso.cli import app
from viso.listening import (
    BuildSettings,
    ListeningTest,
    build_test,
    export_page,
    order_of,
    read_answers,
    read_results,
)
from viso.listening.definition import Kind
from viso.listening.server import Entrance

SYSTEMS = {"alpha": 20.0, "beta": 6.0}
Built = tuple[Path, ListeningTest]


def build(folder: Path, kind: Kind = "mushra", **changes: object) -> Built:
    songs = [make_song(folder, f"song {i}", SYSTEMS, seed=10 * i) for i in range(2)]
    values = {"anchors": False, "duration_s": 1.2, "seed": 7, "title": "Voices <b>&</b>", **changes}
    return folder / kind, build_test(
        songs, folder / kind, settings=BuildSettings(kind=kind, **values)
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(
        tmp_path_factory.mktemp("page"),
        consent="I agree that my answers are kept.",
        asks_device=True,
        asks_age=True,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def heading(page: Any) -> str:
    return str(page.locator("h1").inner_text())


def wait_for(page: Any, text: str) -> None:
    page.get_by_role("heading", name=text, exact=True).wait_for()


def rated(page: Any) -> list[str]:
    return [output.inner_text() for output in page.locator(".stimuli output").all()]


def free(page: Any) -> list[int]:
    """Return which sliders can be moved."""
    sliders = page.locator(".stimuli input").all()
    return [index for index, slider in enumerate(sliders) if slider.is_enabled()]


def hear_reference(page: Any) -> None:
    """Play the reference until the page has taken note of it."""
    page.get_by_text("Play the reference first").wait_for()
    page.keyboard.press("0")
    page.get_by_text("Play the reference first").wait_for(state="hidden")


def train(page: Any) -> None:
    """Play every sound of both pages for training, and rate none."""
    for number in (1, 2):
        wait_for(page, f"Training {number} of 2")
        hear_reference(page)
        for key in "abc":
            assert page.get_by_role("button", name="Next").is_disabled()
            page.keyboard.press(key)
            page.locator(f".stimuli li:nth-child({'abc'.index(key) + 1}) input:focus").wait_for()
            # Who goes on before the clock of the sound has moved has not heard it.
            unplayed = re.compile(rf"Not played: [^.]*\b{key.upper()}\b")
            page.get_by_text(unplayed).wait_for(state="hidden")
        page.get_by_text("You have heard all sounds of this page.").wait_for()
        page.get_by_role("button", name="Next").click()


def rate_by_mouse(page: Any, values: list[int]) -> None:
    """Play each sound by its button, and press the mouse at a place on its slider."""
    for index, value in enumerate(values):
        name = "ABCDEFGH"[index]
        page.get_by_role("button", name=f"Play sound {name}").click()
        slider = page.get_by_role("slider", name=f"Rating of sound {name}")
        box = slider.bounding_box()
        thumb = 16
        x = thumb / 2 + (box["width"] - thumb) * value / 100
        slider.click(position={"x": x, "y": box["height"] / 2})


def rate_by_keyboard(page: Any, values: list[int]) -> None:
    """Type each sound's letter, and move its slider with the arrows."""
    for index, value in enumerate(values):
        page.keyboard.press("abcdefgh"[index])
        page.locator(f".stimuli li:nth-child({index + 1}) input:focus").wait_for()
        page.keyboard.press("Home")
        for _ in range(value // 10):
            page.keyboard.press("PageUp")
        for _ in range(value % 10):
            page.keyboard.press("ArrowRight")
        if value == 0:
            page.keyboard.press("Enter")  # the value that the slider has already


def wanted(test: ListeningTest, order: int, trial: str) -> list[int]:
    """Return what a listener of good taste says, from the first place to the last."""
    quality = {"reference": 100, "alpha": 70, "beta": 33}
    index = [t.name for t in test.trials].index(trial)
    found = test.trials[index]
    return [quality[found.stimuli[i].condition] for i in order_of(test, order).stimuli[index]]


def rated_trials(test: ListeningTest, order: int) -> list[str]:
    names = [test.trials[index].name for index in order_of(test, order).trials]
    return [name for name in names if name.startswith("t")]


def agree_and_begin(page: Any) -> None:
    page.get_by_role("button", name="Begin").click()
    page.get_by_text("The test begins when you agree.").wait_for()
    page.get_by_label("I have read this and agree.").check()
    page.get_by_label("What do you listen with? (optional)").fill("<i>studio</i> headphones")
    page.get_by_label("How old are you? (optional)").select_option("35 to 44")
    page.get_by_role("button", name="Begin").click()
    wait_for(page, "Training 1 of 2")


def test_a_whole_session_to_its_report(browser: Any, built: Built, data: Path) -> None:
    folder, test = built
    with running(*built, data) as base:
        with window(browser) as page:
            page.goto(base)
            page.get_by_role("button", name="Begin").wait_for()
            assert page.title() == "Voices <b>&</b>" and heading(page) == "Voices <b>&</b>"
            agree_and_begin(page)
            link = page.url
            assert "#" in link and page.locator("footer summary").is_visible()
            # The training can be left without ratings, and keeps none.
            hear_reference(page)
            rate_by_mouse(page, [20])
            page.reload()
            train(page)
            wait_for(page, "Page 1 of 2")
            hear_reference(page)
            first, second = rated_trials(test, 0)
            values = wanted(test, 0, first)
            rate_by_mouse(page, values)
            for told, value in zip(rated(page), values, strict=True):
                assert abs(int(told) - value) <= 2
            rate_by_keyboard(page, values)  # to the point
            assert rated(page) == [str(value) for value in values]
            page.get_by_role("button", name="Next").click()
            wait_for(page, "Page 2 of 2")
            # Half of a page, then the window is closed.
            hear_reference(page)
            rate_by_keyboard(page, wanted(test, 0, second)[:2])
            page.goto("about:blank")
            page.goto(base)  # the same browser needs no link
            wait_for(page, "Page 2 of 2")
            assert rated(page) == [*(str(v) for v in wanted(test, 0, second)[:2]), "–"]
        # Another device, by the link, with the keyboard alone.
        with window(browser) as page:
            page.goto(link)
            wait_for(page, "Page 2 of 2")
            assert rated(page) == ["–"] * 3
            hear_reference(page)
            rate_by_keyboard(page, wanted(test, 0, second))
            next_button = page.get_by_role("button", name="Next")
            for _ in range(12):
                page.keyboard.press("Tab")
                if next_button.evaluate("button => button === document.activeElement"):
                    break
            page.keyboard.press("Enter")
            wait_for(page, "Thank you")
            page.reload()
            wait_for(page, "Thank you")
            assert "null" not in page.locator("body").inner_text()
        (listener,) = read_results([data], test).listeners
        assert (listener.device, listener.age) == ("<i>studio</i> headphones", "35 to 44")
    words = ["listen", "analyse", str(folder), str(data), "-o", str(data.parent / "report")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "alpha against beta: +37.0" in result.output
    assert "alpha" in (data.parent / "report" / "report.html").read_text()
    saved = CliRunner().invoke(app, ["listen", "analyse", str(folder), str(data), "--json"])
    means = {row["condition"]: row["mean"] for row in json.loads(saved.stdout)["means"]}
    assert means == {"reference": 100, "alpha": 70, "beta": 33}


def test_only_the_sound_that_plays_can_be_rated(browser: Any, built: Built, data: Path) -> None:
    with running(*built, data) as base, window(browser) as page:
        page.goto(base)
        agree_and_begin(page)
        train(page)
        wait_for(page, "Page 1 of 2")
        assert free(page) == []
        # Without the reference no sound can be rated, even while it plays.
        page.keyboard.press("a")
        page.locator('.stimuli button[aria-pressed="true"]').wait_for()
        expect(page.locator(".transport output").first).not_to_have_text("0.0 s")
        assert free(page) == [] and page.get_by_role("button", name="Next").is_disabled()
        hear_reference(page)
        next_button = page.get_by_role("button", name="Next")
        pressed = page.locator('.stimuli button[aria-pressed="true"]')
        for index, key in enumerate("abc"):
            assert next_button.is_disabled()
            page.keyboard.press(key)
            page.locator(f".stimuli li:nth-child({index + 1}) input:enabled").wait_for()
            assert free(page) == [index] and pressed.all_inner_texts() == [key.upper()]
            page.keyboard.press("End")
        assert next_button.is_enabled()
        page.keyboard.press("0")
        page.locator('button[aria-label="Play the reference"][aria-pressed="true"]').wait_for()
        assert free(page) == []
        page.keyboard.press("b")
        page.locator(".stimuli li:nth-child(2) input:focus").wait_for()
        page.keyboard.press("Space")
        page.get_by_role("button", name="Play", exact=True).wait_for()
        assert free(page) == [] and pressed.count() == 0
        # A slider that was touched by no means but a script is not a rating of the listener's.
        page.keyboard.press("ArrowLeft")
        assert rated(page) == ["100"] * 3


def test_an_answer_that_does_not_arrive_is_not_lost(browser: Any, built: Built, data: Path) -> None:
    test = built[1]
    with running(*built, data) as base, window(browser) as page:
        page.goto(base)
        agree_and_begin(page)
        train(page)
        wait_for(page, "Page 1 of 2")
        hear_reference(page)
        rate_by_keyboard(page, wanted(test, 0, rated_trials(test, 0)[0]))
        page.route("**/api/answers", lambda route: route.abort())
        page.get_by_role("button", name="Next").click()
        page.get_by_text("Your answer could not be stored").wait_for()
        assert heading(page) == "Page 1 of 2"
        page.unroute("**/api/answers")
        # It arrives, but the listener is not told.
        page.route("**/api/answers", lambda route: (route.fetch(), route.abort()))
        page.get_by_role("button", name="Next").click()
        page.get_by_text("Your answer could not be stored").wait_for()
        page.unroute("**/api/answers")
        page.get_by_role("button", name="Next").click()
        wait_for(page, "Page 2 of 2")
        records, _ = read_answers(data, test, with_unfinished=True)
        assert len(records) == 2
        page.complaints.clear()  # of the requests that were cut off


def test_deleting_by_the_link(browser: Any, built: Built, data: Path) -> None:
    with running(*built, data) as base, window(browser) as page:
        page.goto(base)
        agree_and_begin(page)
        link = page.url
        page.get_by_text("Your link and your data").click()
        assert page.locator("footer a").get_attribute("href") == link
        page.get_by_role("button", name="Delete all of it").click()
        page.get_by_role("button", name="Keep them").click()
        page.get_by_role("button", name="Delete all of it").click()
        page.get_by_role("button", name="Delete them").click()
        # Exactly: "Begin as another listener" stands on the page that goes, too.
        page.get_by_role("button", name="Begin", exact=True).wait_for()
        assert read_answers(data, built[1], with_unfinished=True) == ([], 0)
        page.goto(link)
        wait_for(page, "This link does not work")
        page.get_by_role("button", name="Begin as a new listener").click()
        page.get_by_role("button", name="Begin", exact=True).wait_for()
        page.complaints.clear()  # the link that is not known


def test_a_link_that_is_opened_while_another_is_deleted(
    browser: Any, built: Built, data: Path
) -> None:
    with running(*built, data) as base, window(browser) as page:
        first, second = new_key(), new_key()
        for key in (first, second):
            body = {"agrees": True}
            assert ask(base, "POST", "/api/session", key=key, body=body).status == 200
        page.goto(f"{base}#{first}")
        wait_for(page, "Training 1 of 2")
        held: list[Any] = []

        def hold(route: Any) -> None:
            if route.request.method == "DELETE":
                held.append(route)
            else:
                route.continue_()

        page.route("**/api/session", hold)
        page.get_by_text("Your link and your data").click()
        page.get_by_role("button", name="Delete all of it").click()
        with page.expect_request(lambda request: request.method == "DELETE"):
            page.get_by_role("button", name="Delete them").click()
        page.evaluate("window.isTheSame = true")
        page.goto(f"{base}#{second}")
        wait_for(page, "Training 1 of 2")
        page.locator(f'footer a[href$="{second}"]').wait_for(state="attached")
        with page.expect_response(lambda response: response.request.method == "DELETE"):
            held[0].continue_()
        # What follows the deletion is over when the page has done what it does next.
        page.evaluate("new Promise((done) => setTimeout(done, 0))")
        wait_for(page, "Training 1 of 2")
        assert page.url == f"{base}#{second}" and page.evaluate("window.isTheSame")
        page.goto(base)  # this browser still knows the second listener
        wait_for(page, "Training 1 of 2")
        assert page.url == f"{base}#{second}"


def test_a_link_that_is_opened_while_the_server_is_away(
    browser: Any, built: Built, data: Path
) -> None:
    with running(*built, data) as base, window(browser) as page:
        page.goto(base)
        agree_and_begin(page)
        link = page.url
        page.route("**/*", lambda route: route.abort())
        page.goto(f"{base}#{new_key()}")
        # A page of our own, and not the browser's.
        wait_for(page, "The test cannot be opened")
        page.get_by_text("the server does not answer").wait_for()
        page.goto(link)
        page.get_by_role("button", name="Try again").wait_for()
        page.unroute("**/*")
        page.get_by_role("button", name="Try again").click()
        wait_for(page, "Training 1 of 2")
        assert page.url == link
        page.complaints.clear()  # of the requests that were cut off


def test_a_bad_link_does_not_take_the_own_one(browser: Any, built: Built, data: Path) -> None:
    with running(*built, data) as base, window(browser) as page:
        page.goto(base)
        agree_and_begin(page)
        link = page.url
        page.goto(f"{base}#{new_key()}")
        wait_for(page, "This link does not work")
        page.get_by_role("button", name="Go on where you stopped").click()
        wait_for(page, "Training 1 of 2")
        assert page.url == link
        page.complaints.clear()  # the link that is not known


def test_two_listeners_at_one_machine(browser: Any, built: Built, data: Path) -> None:
    with running(*built, data) as base, window(browser) as page:
        links = []
        for _ in range(2):
            page.goto(base)
            agree_and_begin(page)
            links.append(page.url)
            page.get_by_text("Your link and your data").click()
            page.get_by_role("button", name="Begin as another listener").click()
            page.get_by_label("I have read this and agree.").wait_for()
        page.goto(links[0])
        wait_for(page, "Training 1 of 2")
        page.goto(links[1])  # only what follows the # is another one
        wait_for(page, "Training 1 of 2")
        assert page.url == links[1] != links[0]
        assert read_answers(data, built[1])[1] == 2


def test_personal_links_and_the_makers_page(browser: Any, built: Built, data: Path) -> None:
    entrance = Entrance(is_open=False)
    with running(*built, data, entrance=entrance) as base, window(browser) as page:
        page.goto(base)
        page.get_by_text("Please open the personal link that you were given.").wait_for()
        page.goto(f"{base}maker")
        page.get_by_label("The maker's token").wait_for()
        assert "null" not in page.locator("body").inner_text()
        page.get_by_label("The maker's token").fill("not-the-makers-token")
        page.get_by_role("button", name="Open").click()
        page.get_by_text("this is not the maker's token").wait_for()
        page.get_by_label("The maker's token").fill(MAKER)
        page.get_by_role("button", name="Open").click()
        page.get_by_text("Nobody has begun yet.").wait_for()
        page.get_by_label("Personal links").fill("3")
        page.get_by_role("button", name="Make links").click()
        page.locator("textarea:visible").wait_for()
        links = page.locator("textarea").input_value().splitlines()
        assert len(set(links)) == 3 and all(link.startswith(f"{base}#") for link in links)
        with window(browser) as other:
            other.goto(links[1])
            agree_and_begin(other)
            assert other.url == links[1]
        page.get_by_role("rowheader").wait_for()
        assert "0 of 4" in page.locator("tbody").inner_text()
        assert violations(page) == []
        page.get_by_label("those who have not finished, too").check()
        with page.expect_download() as caught:
            page.get_by_role("button", name="Download the results").click()
        text = Path(caught.value.path()).read_text()
        expected = ask(base, "GET", "/api/maker/results?unfinished=true", key=MAKER)
        assert text.encode() == expected.body and '"record":"listener"' in text
        # The listener is removed, after a question.
        page.get_by_role("button", name="Remove the chosen").wait_for()
        assert page.get_by_role("button", name="Remove the chosen").is_disabled()
        page.get_by_role("button", name="Choose all who answered nothing").click()
        page.get_by_role("button", name="Remove the chosen").click()
        page.get_by_text("All answers of 1 listener will be gone.").wait_for()
        assert violations(page) == []
        page.get_by_role("button", name="Keep them").click()
        assert len(read_answers(data, built[1], with_unfinished=True)[0]) == 1
        page.get_by_role("button", name="Remove the chosen").click()
        page.get_by_role("button", name="Remove them").click()
        page.get_by_text("Nobody has begun yet.").wait_for()
        assert read_answers(data, built[1], with_unfinished=True) == ([], 0)
        page.complaints.clear()  # the wrong token


@pytest.mark.parametrize("kind", ["abx", "preference"])
def test_pairs(browser: Any, tmp_path: Path, data: Path, kind: Kind) -> None:
    folder, test = build(tmp_path, kind)
    with running(folder, test, data) as base, window(browser) as page:
        page.goto(base)
        page.get_by_role("button", name="Begin").click()
        keys = "abx" if kind == "abx" else "ab"
        choice = page.get_by_label("X is B" if kind == "abx" else "I prefer B")
        next_button = page.get_by_role("button", name="Next")
        for name in ("Training", "Page 1 of 2", "Page 2 of 2"):
            wait_for(page, name)
            # X is A or B, and has to be heard as X.
            for index, key in enumerate(keys):
                rest = ", ".join(keys[index:].upper())
                page.get_by_text(f"Not played: {rest}.").wait_for()
                assert choice.is_disabled() and next_button.is_disabled()
                page.keyboard.press(key)
                page.locator(
                    '.transport button[aria-pressed="true"]', has_text=key.upper()
                ).wait_for()
            page.locator("input[type=radio]:enabled").first.wait_for()
            if name == "Training":
                next_button.click()
                continue
            assert next_button.is_disabled()
            choice.check()
            assert violations(page) == []
            next_button.click()
        wait_for(page, "Thank you")
    choices = read_results([data], test).choices
    assert [choice.choice for choice in choices] == ["b", "b"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (360, 740)])
def test_everybody_can_use_it(
    browser: Any, built: Built, data: Path, scheme: str, size: tuple[int, int]
) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": size[0], "height": size[1]}}
    if size[0] < 500:
        options |= {"has_touch": True, "is_mobile": True}

    def look(page: Any) -> None:
        assert violations(page) == []
        # Nothing sticks out to the right, and fingers hit what they aim at.
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert min(box["width"], box["height"]) >= 43

    with running(*built, data) as base, window(browser, **options) as page:
        page.goto(base)
        page.get_by_role("button", name="Begin").wait_for()
        look(page)
        agree_and_begin(page)
        page.get_by_role("button", name="Play sound A").click()
        look(page)
        train(page)
        wait_for(page, "Page 1 of 2")
        look(page)
        hear_reference(page)
        page.keyboard.press("c")
        page.locator(".stimuli li:nth-child(3) input:focus").wait_for()
        look(page)
        page.get_by_text("Your link and your data").click()
        page.get_by_role("button", name="Delete all of it").click()
        look(page)
        page.goto(f"{base}maker#{MAKER}")
        page.get_by_role("button", name="Make links").click()
        page.locator("textarea:visible").wait_for()
        look(page)


@pytest.mark.parametrize("embedded", [True, False])
def test_the_exported_page_to_its_file(
    browser: Any, built: Built, tmp_path: Path, embedded: bool
) -> None:
    folder, test = built
    export_page(folder, tmp_path / "page", n_orders=3, embedded=embedded)
    with served(tmp_path / "page", is_file=embedded) as address, window(browser) as page:
        page.goto(f"{address}?listener=2")
        agree_and_begin(page)
        train(page)
        first, second = rated_trials(test, 1)
        wait_for(page, "Page 1 of 2")
        hear_reference(page)
        rate_by_keyboard(page, wanted(test, 1, first))
        page.get_by_role("button", name="Next").click()
        wait_for(page, "Page 2 of 2")
        page.reload()
        wait_for(page, "Page 2 of 2")
        hear_reference(page)
        rate_by_keyboard(page, wanted(test, 1, second))
        if not embedded:  # axe-core asks for the style sheet, which a page from disk may not
            assert violations(page) == []
        page.get_by_role("button", name="Next").click()
        wait_for(page, "Thank you")
        with page.expect_download() as caught:
            page.get_by_role("button", name="Save the answers").click()
        name = caught.value.suggested_filename
        assert name.startswith(test.id) and name.endswith(".jsonl")
        saved = tmp_path / name
        saved.write_bytes(Path(caught.value.path()).read_bytes())
    results = read_results([saved], test)
    assert [listener.order for listener in results.listeners] == [1]
    means = CliRunner().invoke(app, ["listen", "analyse", str(folder), str(saved), "--json"])
    told = {row["condition"]: row["mean"] for row in json.loads(means.stdout)["means"]}
    assert told == {"reference": 100, "alpha": 70, "beta": 33}
