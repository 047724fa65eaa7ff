"""Binary spherical quantization, forward and backward, against its bare signs and against vector-quantize-pytorch."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.tokenizers.quantizers import BSQ
from mmgen.tokenizers.quantizers.base import straight_through
from mmgen.tools.bench.benchmark import Conditions, Result, register
from mmgen.tools.bench.timing import peak_mebibytes

OF_SIGNS = 3.0  # how many times the time of normalising and taking signs 18 bits may take
OF_18_BITS = 2.2  # how many times that of 18 bits 36 bits may take
MEBIBYTES = 100.0
PACKAGE = "vector-quantize-pytorch"


@register("bsq", "binary spherical quantization of 65,536 vectors, forward and backward", needs=(PACKAGE,))
def bsq(conditions: Conditions) -> Iterator[Result]:
    """18 and 36 bits next to the signs alone, a codebook of 8192, and the lookup-free quantizer on the sphere."""
    count, source = conditions.size(65536, 64), torch.Generator().manual_seed(0)
    inputs = {bits: torch.randn(count, bits, generator=source).to(conditions.device) for bits in (18, 36)}
    short, long = (each.requires_grad_() for each in inputs.values())
    check(short)
    contenders = {
        "BSQ, 18 bits": _quantized(short),
        "BSQ, 36 bits": _quantized(long),
        "normalise and sign": lambda: _signs(short).sum().backward(),
    }
    of_package = _of_package(short, conditions.tiny) | {"BSQ, 18 bits": contenders["BSQ, 18 bits"]}
    # Apart, since the package's fill gigabytes that the system then has to clear up.
    own, others = conditions.compare(contenders), conditions.compare(of_package)
    for name, ours, peer, goal, package in [
        ("bsq/18/signs", "BSQ, 18 bits", "normalise and sign", 1 / OF_SIGNS, None),
        ("bsq/36/18", "BSQ, 36 bits", "BSQ, 18 bits", 1 / OF_18_BITS, None),
        ("bsq/18/VQ-8192", "BSQ, 18 bits", "VQ, 8192 codes of 18", None, PACKAGE),
        ("bsq/18/LFQ", "BSQ, 18 bits", "spherical LFQ, 2 x 9 bits", None, PACKAGE),
    ]:
        yield conditions.result(
            name, others if package else own, peer, ours=ours, goal=goal, package=package, vectors=count,
            limit="normalise and sign" if name == "bsq/18/signs" else None,
        )  # fmt: skip
    used = peak_mebibytes(contenders["BSQ, 18 bits"], conditions.device)
    yield conditions.memory_result("bsq/18/memory", used, MEBIBYTES, "allowed", 1.0, vectors=count)


def _quantized(z: Tensor) -> Callable[[], object]:
    quantizer = BSQ(z.shape[-1]).to(z.device)

    def run() -> None:
        quantized = quantizer(z)
        (quantized.values.sum() + sum(quantized.losses.values())).backward()

    return run


def _of_package(z: Tensor, tiny: bool) -> dict[str, Callable[[], object]]:
    from vector_quantize_pytorch import LFQ, VectorQuantize

    codebook = VectorQuantize(dim=18, codebook_size=64 if tiny else 8192).to(z.device)
    spherical = LFQ(dim=18, codebook_size=2**9, num_codebooks=2, spherical=True).to(z.device)

    def step(quantizer: nn.Module) -> Callable[[], object]:
        def run() -> None:
            values, _, loss = quantizer(z[None])
            (values.sum() + loss.sum()).backward()

        return run

    return {"VQ, 8192 codes of 18": step(codebook), "spherical LFQ, 2 x 9 bits": step(spherical)}


def _signs(z: Tensor) -> Tensor:
    """The least that any such quantizer does."""
    u = F.normalize(z, dim=-1)
    return straight_through(u, u.detach().sign() * z.shape[-1] ** -0.5)


def check(z: Tensor) -> None:
    """The codes of ours are the signs alone, and so is their gradient without losses."""
    values, expected = BSQ(z.shape[-1]).to(z.device)(z).values, _signs(z)
    torch.testing.assert_close(values, expected)
    weights = torch.arange(z.shape[-1], dtype=z.dtype, device=z.device)
    gradients = [torch.autograd.grad((each * weights).sum(), z)[0] for each in (values, expected)]
    torch.testing.assert_close(*gradients)
