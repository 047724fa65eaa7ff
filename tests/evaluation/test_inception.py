"""With random weights: nobody has the real ones offline, and the way to the features does not depend on them."""

from pathlib import Path

import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.evaluation.extractors import extract, get_extractor
from mmgen.evaluation.inception import Inception

interface = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch-fidelity's network as its constructor leaves it, saved; without its download."""
    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(interface, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(interface.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save(interface.FeatureExtractorInceptionV3("random", ["2048"]).state_dict(), file)
    return file


def test_features_are_those_of_the_bytes_of_each_image(weights: Path) -> None:
    net = get_extractor("inception", (3, 32, 32), weights=weights)
    assert (net.name, net.distance, net.num_features) == ("inception", "fid", 2048)
    assert "TensorFlow 1" in net.protocol["resize"]
    assert len(net.protocol["weights"]) == 8
    x = Draws(0, torch.arange(2)).uniform("x", 3, 32, 32).float() * 2 - 1
    whole = extract(net, x.split(1))
    assert whole.shape == (2, 2048)
    assert isinstance(net, Inception)
    (expected,) = net.network(((x + 1) * 127.5).round().to(torch.uint8))
    torch.testing.assert_close(whole.float(), expected, rtol=1e-3, atol=1e-5)
    assert whole.std(0).max() > 0


def test_without_weights_it_says_where_to_get_them() -> None:
    with pytest.raises(UserError, match=r"get https://\S+pth and name the file: --weights FILE"):
        get_extractor("inception", (3, 32, 32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ({"weight": torch.zeros(2)}, "holds weights of another network"),
        ([1, 2], "is no readable file of weights"),
    ],
    ids=["missing", "another network", "a list"],
)
def test_wrong_weights_end_in_one_line(content: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    if content is not None:
        torch.save(content, file)
    with pytest.raises(UserError, match=message) as caught:
        Inception(file)
    assert "\n" not in str(caught.value)
