import dataclasses
from collections.abc import Callable

import pytest

from mmgen.modalities.video.page import video_page
from mmgen.modalities.video.page.page import drift_curve, psnr_curve
from mmgen.modalities.video.page.story import VideoStory
from mmgen.page import render
from mmgen.page.page import figure
from tests.modalities.video.page.fake import CONTEXT, FRAMES, LONG, USED, story
from tests.page.elements import LAWS, Elements, text


@pytest.fixture(scope="module")
def made() -> VideoStory:
    return story()


@pytest.fixture(scope="module")
def page(made: VideoStory) -> str:
    return render(video_page(made))


@pytest.mark.parametrize("law", LAWS)
def test_it_is_a_whole_page(law: Callable[[str], None], page: str) -> None:
    law(page)


def test_every_result_stands_on_it(page: str, made: VideoStory) -> None:
    told = text(page)
    assert [each["id"] for each in Elements(page).named("section")] == [
        "tokenizer", "prediction", "rollout", "classes", "metrics", "training", "masks",
    ]  # fmt: skip
    for mode in made.modes:
        for line in (mode.command, mode.prediction.command, mode.prediction.measure_command, mode.rollout.command):
            assert line in told
        for name, value in (mode.prediction.measured | {mode.rollout.metric: mode.rollout.drift}).items():
            assert name in told
            assert figure(value, name) in told
    assert "25.43 dB over 400 clips" in told
    assert "640 bits a frame" in told
    assert "a frame in 6.25 ms" in told
    assert "Block diffusion: over 60 held-out clips its frames are at 20.00 dB" in told
    assert "copied, is at 17.25 dB: a gain of +2.75 dB" in told
    assert f"{FRAMES} frames are all that the model was trained on. Here it goes on to {LONG}, three times as" in told
    assert "A frame sees 4 frames, itself among them" in told
    assert "a frame costs the same at the end as at the beginning" in told
    assert all(name in told for name in made.chosen)
    assert all(command in told for command in made.commands)
    assert "8 min 31 s" in told
    assert "2 cores of <a machine> & more" in told


def test_no_figure_stands_on_it_that_was_not_measured(made: VideoStory) -> None:
    """Another run's page has that run's figures and none of this one's."""
    doubled = {name: 2 * value for name, value in made.reconstruction.measured.items()}
    modes = [
        dataclasses.replace(
            mode,
            prediction=dataclasses.replace(
                mode.prediction,
                psnr=[2 * value for value in mode.prediction.psnr],
                gain=[2 * value for value in mode.prediction.gain],
                measured={name: 2 * value for name, value in mode.prediction.measured.items()},
            ),
        )
        for mode in made.modes
    ]
    other = dataclasses.replace(
        made, modes=modes, reconstruction=dataclasses.replace(made.reconstruction, measured=doubled), context=2
    )
    told = text(render(video_page(other)))
    assert "50.86 dB" in told and "25.43" not in told
    assert "a gain of +5.50 dB" in told and "+2.75" not in told
    assert "is given the first two frames" in told and "first three" not in told


def test_what_was_not_measured_is_not_told(made: VideoStory) -> None:
    measured = {"psnr_db": 25.43}
    bare = dataclasses.replace(
        made,
        reconstruction=dataclasses.replace(made.reconstruction, measured=measured),
        modes=[dataclasses.replace(made.modes[0], window=None), made.modes[1]],
        chosen=[],
        masks=[],
        curves=[],
    )
    page = render(video_page(bare))
    assert [each["id"] for each in Elements(page).named("section")][-1] == "metrics"
    assert "bits a frame" not in text(page)
    assert "stream" not in text(page)
    assert "A frame sees" not in text(page)
    assert "which digits there should be" not in text(page)


def test_all_films_of_a_row_show_their_frames_on_one_clock(page: str) -> None:
    rows = [each for each in Elements(page).named("div") if "data-unit" in each]
    assert [(row["data-unit"], row["data-last"]) for row in rows] == [
        ("frame", str(FRAMES)), ("frame", str(FRAMES)), ("frame", str(LONG)), ("frame", str(FRAMES)),
    ]  # fmt: skip
    assert all(row["data-tick"] == "0.1" for row in rows)  # 10 frames a second
    films = [each for each in Elements(page).named("div") if "data-at" in each]
    assert len(films) == 2 + (len(USED) + 2) + 2 * len(USED)
    predicted = next(each["data-told"] for each in films if "predicted" in each["data-told"])
    assert predicted.count("given") == CONTEXT
    assert predicted.count("predicted") == FRAMES - CONTEXT


def test_the_curve_of_copying_is_what_predictions_gain_over(made: VideoStory) -> None:
    curve = psnr_curve(made)
    for mode in made.modes[:1]:
        for (frame, psnr), (at, copied), gain in zip(
            curve.points[mode.name], curve.points["copy"], mode.prediction.gain
        ):
            assert frame == at
            assert psnr - copied == pytest.approx(gain)
    assert [frame for frame, _ in curve.points["copy"]] == list(range(CONTEXT + 1, FRAMES + 1))


def test_drift_is_drawn_where_its_windows_end(made: VideoStory) -> None:
    curve = drift_curve(made)
    assert [frame for frame, _ in curve.points["block"]] == [CONTEXT + 5, CONTEXT + 10, CONTEXT + 15, CONTEXT + 20]
    assert [value for _, value in curve.points["real"]] == [10.0, 10.1, 9.9, 10.2]
    assert curve.marks == {float(FRAMES): "beyond training"}
