import pytest

from tests.training.fits import TOKENIZER, fake, fit


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Options for 20 fake digits."""
    return fake(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory, digits):
    """A tokenizer run of two steps."""
    return fit(
        tmp_path_factory.mktemp("runs") / "bsq",
        *TOKENIZER,
        *digits,
        "--data.global_batch_size=4",
        "--trainer.max_steps=2",
    )
