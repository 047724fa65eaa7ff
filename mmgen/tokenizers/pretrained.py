"""Tokenizers that another package published, straight from the folder that its `save_pretrained` wrote."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.tokenizers.base import Reconstruction, Tokenizer

CONFIG = "config.json"


class PretrainedTokenizer(Tokenizer):
    """A frozen model of another package.

    Attributes:
        library: the package.
        noun: what its models are called.
        weights: the file of weights in a folder.
        own: the tokenizer to take instead for training.
        architecture: the content of the model's config.json.
    """

    library: ClassVar[str]
    noun: ClassVar[str]
    weights: ClassVar[str]
    own: ClassVar[str]
    architecture: dict[str, Any]
    model: Any

    @classmethod
    def read_architecture(cls, path: Path) -> dict[str, Any]:
        """The content of a folder's config.json. Raises UserError where it cannot be read."""
        plain = read_json(path / CONFIG)
        if not isinstance(plain, dict):
            raise UserError(f"{path / CONFIG} is no config of {cls.library}")
        return plain

    @classmethod
    def in_folder(cls, path: Path, architecture: dict[str, Any], **options: Any) -> Self:
        """The model in a folder, of the other arguments of the class. Raises UserError where either does not fit."""
        try:
            tokenizer = cls(architecture, **options)
        except (UserError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path / CONFIG}: {one_line(error)}") from None
        return tokenizer.load(path)

    @classmethod
    def import_library(cls) -> Any:
        """The package, which is slow to import. Raises UserError where it is not installed."""
        try:
            return import_module(cls.library)
        except ImportError:
            message = f"{cls.noun}s of {cls.library} need a package that is not installed: pip install {cls.library}"
            raise UserError(message) from None

    def build(self, name: str, make: Callable[[Any], Any]) -> Any:
        """A model of that name, which `make` makes of the package. Raises UserError where it does not."""
        library = self.import_library()
        try:
            return make(library)
        except Exception as error:  # a config from anywhere: what its values break is open-ended
            raise UserError(f"{self.library} builds no {name} of it ({one_line(error)})") from None

    def load(self, path: Path) -> Self:
        """Reads the weights in a folder by the package's own loader, which knows the names that layers once had.

        Raises:
            UserError: weights are missing, corrupt, pickled or of another model.
        """
        file = path / self.weights
        if not file.is_file() and not (path / f"{self.weights}.index.json").is_file():
            if any(each.suffix in (".bin", ".ckpt", ".pt", ".pth") for each in path.iterdir()):
                raise UserError(
                    f"{path} holds pickled weights, which could run code and are not read: save them with"
                    f" {self.library}' save_pretrained, which writes {self.weights}"
                )
            raise UserError(f"{path} holds no {self.weights}; copy the whole folder of the {self.noun}")
        try:
            with _no_progress_bar(self.import_library().utils.logging):
                options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
                model, report = type(self.model).from_pretrained(path, **options)
        except Exception as error:  # damaged files, and shapes that do not fit: open-ended
            raise UserError(f"{file} is corrupt, or not of the model in {CONFIG} ({one_line(error)})") from None
        for key, text in (("missing_keys", "lacks"), ("unexpected_keys", "has an unexpected")):
            if report.get(key):
                raise UserError(f"{file} {text} {min(report[key])}: {CONFIG} beside it describes another model")
        self.model.load_state_dict(model.state_dict())
        return self

    def describe(self) -> dict[str, Any]:
        """What builds this tokenizer, but for its weights, as `tokenizer` in a config.yaml."""
        kind = type(self)
        init_args = {"architecture": self.architecture} | self.options()
        return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": init_args}

    def options(self) -> dict[str, Any]:
        """Its arguments beside the architecture."""
        raise NotImplementedError

    def check_codes(self, values: Tensor) -> None:
        """Raises UserError unless values are codes of the model."""
        if values.min() < 0 or values.max() >= self.spec.size:
            extremes = f"{values.min().item()} to {values.max().item()}"
            raise UserError(f"{type(self).__name__} has codes 0 to {self.spec.size - 1}, got {extremes}")

    def forward(self, x: Tensor) -> Reconstruction:
        """Raises UserError: it is not trained."""
        raise UserError(f"the {self.noun}s of {self.library} are used as they are; to train one, take {self.own}")

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)


def library_of(path: str | Path) -> str | None:
    """The package that wrote a folder, `transformers` or `diffusers`; None for mmgen's, and without a config."""
    path = Path(path)
    if (path / "config.yaml").exists():
        return None
    if (path / "model_index.json").is_file():
        return "diffusers"
    if not (path / CONFIG).is_file():
        return None
    try:
        plain = read_json(path / CONFIG)
    except UserError:  # damaged, which is reported when it is opened
        return "diffusers"
    return "transformers" if isinstance(plain, dict) and "model_type" in plain else "diffusers"


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _no_progress_bar(logging: Any) -> Iterator[None]:
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
