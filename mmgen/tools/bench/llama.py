"""A generator that is a decoder as in Llama, and its counterparts in `transformers` and `x-transformers`."""

from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor

from mmgen.core.tokens import TokenSpec
from mmgen.model.backbone.block import Block
from mmgen.model.generator import Generator
from mmgen.model.heads import require_choices
from mmgen.paradigms import Autoregressive
from mmgen.tools.bench.models import generator


def llama_like(spec: TokenSpec, shape: tuple[int, int, int], device: torch.device) -> Generator:
    """A generator with the backbone of the other packages: no modulation, plain attention, rotary positions along the
    row, and no bias in its head.
    """
    options = {"modulation": "none", "qk_norm": "none", "rope": (1, 0, 0)}
    ours = generator(Autoregressive(), spec, shape, device, options)
    torch.nn.init.zeros_(require_choices(ours.head, "bench").project.bias)
    return ours


def transformers_llama(ours: Generator) -> Any:
    """`transformers.LlamaForCausalLM` with the weights of a `llama_like` generator."""
    import transformers

    library: Any = transformers
    backbone, block = ours.backbone, cast(Block, ours.backbone.blocks[0])
    config = library.LlamaConfig(
        vocab_size=ours.spec.size,
        hidden_size=backbone.dim,
        intermediate_size=block.mlp.down.in_features,
        num_hidden_layers=backbone.depth,
        num_attention_heads=backbone.heads,
        num_key_value_heads=backbone.kv_heads,
        max_position_embeddings=2 * ours.spec.length,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    peer = library.LlamaForCausalLM(config).to(ours.device).eval()
    weights = _ends(ours, "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
    for number, each in enumerate(backbone.blocks):
        inside, here = cast(Block, each), f"model.layers.{number}."
        q, k, v = inside.mixer.qkv.weight.chunk(3)
        gate, value = inside.mlp.up.weight.chunk(2)
        weights |= {
            f"{here}self_attn.q_proj.weight": q,
            f"{here}self_attn.k_proj.weight": k,
            f"{here}self_attn.v_proj.weight": v,
            f"{here}self_attn.o_proj.weight": inside.mixer.out.weight,
            f"{here}mlp.gate_proj.weight": gate,
            f"{here}mlp.up_proj.weight": value,
            f"{here}mlp.down_proj.weight": inside.mlp.down.weight,
            f"{here}input_layernorm.weight": cast(Tensor, inside.norm_mixer.weight),
            f"{here}post_attention_layernorm.weight": cast(Tensor, inside.norm_mlp.weight),
        }
    peer.load_state_dict(weights)
    return peer


def x_transformer(ours: Generator) -> Any:
    """`x_transformers.AutoregressiveWrapper` with the same weights. Its rotary positions pair neighbouring channels, so
    that the rows of queries and keys stand in another order.
    """
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    backbone, block = ours.backbone, cast(Block, ours.backbone.blocks[0])
    inner = Decoder(
        dim=backbone.dim,
        depth=backbone.depth,
        heads=backbone.heads,
        attn_dim_head=backbone.head_dim,
        attn_flash=True,
        rotary_pos_emb=True,
        rotary_emb_dim=backbone.head_dim,
        use_rmsnorm=True,
        ff_glu=True,
        ff_swish=True,
        ff_no_bias=True,
        ff_mult=block.mlp.down.in_features / backbone.dim,
    )
    net = TransformerWrapper(
        num_tokens=ours.spec.size, max_seq_len=2 * ours.spec.length, use_abs_pos_emb=False, tie_embedding=False,
        attn_layers=inner,
    )  # fmt: skip
    peer = AutoregressiveWrapper(net).to(ours.device).eval()
    weights = _ends(ours, "token_emb.emb.weight", "attn_layers.final_norm.g", "to_logits.weight")
    weights["attn_layers.rotary_pos_emb.inv_freq"] = net.state_dict()["attn_layers.rotary_pos_emb.inv_freq"]
    for number, each in enumerate(backbone.blocks):
        inside, layers = cast(Block, each), "attn_layers.layers."
        mixer, mlp = f"{layers}{2 * number}.", f"{layers}{2 * number + 1}."
        q, k, v = inside.mixer.qkv.weight.chunk(3)
        gate, value = inside.mlp.up.weight.chunk(2)
        weights |= {
            f"{mixer}0.0.g": cast(Tensor, inside.norm_mixer.weight),
            f"{mixer}1.to_q.weight": _in_pairs(q, backbone.heads),
            f"{mixer}1.to_k.weight": _in_pairs(k, backbone.heads),
            f"{mixer}1.to_v.weight": v,
            f"{mixer}1.to_out.weight": inside.mixer.out.weight,
            f"{mlp}0.0.g": cast(Tensor, inside.norm_mlp.weight),
            f"{mlp}1.ff.0.proj.weight": torch.cat([value, gate]),
            f"{mlp}1.ff.0.proj.bias": torch.zeros(2 * len(gate)),
            f"{mlp}1.ff.2.weight": inside.mlp.down.weight,
        }
    for name, module in net.named_modules():  # a gain that is stored as what is above 1
        if getattr(module, "unit_offset", False):
            weights[f"{name}.g"] = weights[f"{name}.g"] - 1
    net.load_state_dict(weights)
    return peer


def _ends(ours: Generator, embedding: str, norm: str, head: str) -> dict[str, Tensor]:
    """What stands before and behind the blocks; the peers' heads have no bias."""
    table, final = ours.get_parameter("embedding.table.weight"), ours.get_parameter("backbone.final_norm.weight")
    return {embedding: table, norm: final, head: require_choices(ours.head, "bench").project.weight}


def _in_pairs(rows: Tensor, heads: int) -> Tensor:
    """(heads, 2 halves, pairs) rows -> (heads, pairs, 2)."""
    return rearrange(rows, "(heads halves pairs) dim -> (heads pairs halves) dim", heads=heads, halves=2)
