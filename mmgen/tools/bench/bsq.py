"""Binary spherical quantization, forward and backward, against its bare signs and against vector-quantize-pytorch."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.tokenizers.quantizers import BSQ
from mmgen.tokenizers.quantizers.base import straight_through
from mmgen.tools.bench.benchmark import Conditions, Result, device_name, register, result
from mmgen.tools.bench.memory import peak_mebibytes
from mmgen.tools.bench.timing import compare

OF_SIGNS = 3.0  # how many times the time of normalising and taking signs 18 bits may take
OF_18_BITS = 2.2  # how many times that of 18 bits 36 bits may take
MEBIBYTES = 100.0


@register(
    "bsq", "binary spherical quantization of 65,536 vectors, forward and backward", needs=("vector-quantize-pytorch",)
)
def bsq(conditions: Conditions) -> Iterator[Result]:
    """18 and 36 bits beside the signs alone, a codebook of 8192, and the lookup-free quantizer on the sphere."""
    count = conditions.size(65536, 64)
    contenders, inputs = _ours(conditions.device, count)
    check(inputs[18])
    of_package = _of_package(inputs[18], conditions.tiny) | {"BSQ, 18 bits": contenders["BSQ, 18 bits"]}
    # Apart, since the package's fill gigabytes that the system then has to clear up.
    own, others = (compare(each, conditions.runs, conditions.device) for each in (contenders, of_package))
    settings = {"vectors": count, "dtype": "float32"}
    for name, ours, peer, goal, package in [
        ("bsq/18/signs", "BSQ, 18 bits", "normalise and sign", 1 / OF_SIGNS, None),
        ("bsq/36/18", "BSQ, 36 bits", "BSQ, 18 bits", 1 / OF_18_BITS, None),
        ("bsq/18/VQ-8192", "BSQ, 18 bits", "VQ, 8192 codes of 18", None, "vector-quantize-pytorch"),
        ("bsq/18/LFQ", "BSQ, 18 bits", "spherical LFQ, 2 x 9 bits", None, "vector-quantize-pytorch"),
    ]:
        yield result(
            conditions, name, own if package is None else others, peer, ours=ours, goal=goal,
            limit="normalise and sign" if name == "bsq/18/signs" else None, package=package, settings=settings,
        )  # fmt: skip
    used = peak_mebibytes(contenders["BSQ, 18 bits"], conditions.device)
    yield Result(
        "bsq/18/memory", used, MEBIBYTES, "MiB", MEBIBYTES / used, 1.0, None, device_name(conditions.device),
        settings | {"peer": "allowed"},
    )  # fmt: skip


def _ours(device: torch.device, count: int) -> tuple[dict[str, Callable[[], object]], dict[int, Tensor]]:
    """What is run, and the vectors by their bits."""
    source = torch.Generator().manual_seed(0)
    inputs = {bits: torch.randn(count, bits, generator=source).to(device).requires_grad_() for bits in (18, 36)}
    quantizers = {bits: BSQ(bits).to(device) for bits in inputs}

    def quantized(bits: int) -> Callable[[], object]:
        def run() -> None:
            found = quantizers[bits](inputs[bits])
            (found.values.sum() + sum(found.losses.values())).backward()

        return run

    def signs() -> None:
        _signs(inputs[18]).sum().backward()

    return {"BSQ, 18 bits": quantized(18), "BSQ, 36 bits": quantized(36), "normalise and sign": signs}, inputs


def _of_package(z: Tensor, tiny: bool) -> dict[str, Callable[[], object]]:
    from vector_quantize_pytorch import LFQ, VectorQuantize

    codebook = VectorQuantize(dim=18, codebook_size=64 if tiny else 8192).to(z.device)
    spherical = LFQ(dim=18, codebook_size=2**9, num_codebooks=2, spherical=True).to(z.device)

    def step(quantizer: nn.Module) -> Callable[[], object]:
        def run() -> None:
            found, _, loss = quantizer(z[None])
            (found.sum() + loss.sum()).backward()

        return run

    return {"VQ, 8192 codes of 18": step(codebook), "spherical LFQ, 2 x 9 bits": step(spherical)}


def _signs(z: Tensor) -> Tensor:
    """The least that any such quantizer does."""
    u = F.normalize(z, dim=-1)
    return straight_through(u, u.detach().sign() * z.shape[-1] ** -0.5)


def check(z: Tensor) -> None:
    """The codes of ours are the signs alone, and so is their gradient without losses."""
    found, expected = BSQ(z.shape[-1]).to(z.device)(z).values, _signs(z)
    torch.testing.assert_close(found, expected)
    weights = torch.arange(z.shape[-1], dtype=z.dtype, device=z.device)
    of_found, of_expected = (torch.autograd.grad((values * weights).sum(), z)[0] for values in (found, expected))
    torch.testing.assert_close(of_found, of_expected)
