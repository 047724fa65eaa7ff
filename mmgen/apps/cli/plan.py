"""`mmgen plan`: what a training run will take, before it is started."""

from typing import Literal


def run(
    config: str,
    gpus: int = 1,
    tokens: float | None = None,
    mfu: float = 0.4,
    device: str = "h100",
    precision: Literal["bf16-mixed", "bf16-true", "32-true"] = "bf16-mixed",
    strategy: Literal["ddp", "fsdp"] = "ddp",
    accumulate: int | None = None,
    set_: list[str] | None = None,
    spec: str | None = None,
    classes: int | None = None,
    check: bool = False,
    json_: bool = False,
) -> None:
    """Print parameters by part, operations per token, memory of a device by part, tokens a second and days.

    Nothing is trained and no accelerator is needed. The parts that stand once are run on a few rows on this CPU, a
    block of the backbone on a few positions, and the rest is multiplication; so a plan holds for every paradigm, mask
    and kind of token. Neither the data nor a trained tokenizer has to be here: the recipe of the tokenizer says what it
    yields, or --spec does.

    Operations are those of the model (PaLM's count): a backward pass is twice its forward pass, and recomputation is
    not counted. Attention is reported twice, for all pairs of positions and for those that the mask shows; the expected
    speed counts all pairs. 40 % of a device's best rate is good for a transformer on one machine, over many machines
    expect less; measure yours with a short run, and plan again with that --mfu.

    Args:
        config: a recipe, its folder, or a run folder.
        gpus: number of devices; data.global_batch_size is divided among them.
        tokens: to train on, such as 300e9; by default what trainer.max_steps of the recipe come to.
        mfu: share of the devices' best rate that is reached, in (0, 1].
        device: a100, h100, h200, b200, l40s or rtx4090.
        precision: bf16-mixed, bf16-true or 32-true, as trainer.precision.
        strategy: ddp, with a whole model on each device, or fsdp, with a share of it.
        accumulate: batches whose gradients one step adds up; the recipe's by default.
        set_: KEY=VALUE, over what the recipe says, such as model.backbone.size=xl; may be given several times.
        spec: KIND:SIZE:TxHxW of the tokens (categorical, bits or continuous), or residual:SIZE:TxHxW:LEVELS.
        classes: of the condition; those of the data by default.
        check: run the model here, forward and backward, and print what the plan said beside what was measured.
        json_: one JSON object instead of tables.
    """
    import json

    from rich.console import Console

    from mmgen.core.errors import UserError
    from mmgen.tools.plan import Setup, plan
    from mmgen.tools.plan.recipe import Recipe
    from mmgen.tools.plan.table import show

    if gpus < 1 or not 0 < mfu <= 1 or (tokens is not None and not tokens > 0):
        raise UserError(f"--gpus {gpus} must be at least 1, --mfu {mfu} in (0, 1], and --tokens positive")
    recipe = Recipe.read(config, set_ or [], spec, classes)
    accumulate = accumulate or int(recipe.setting("trainer", "accumulate_grad_batches", default=1))
    estimate = plan(recipe, Setup(gpus, tokens, mfu, device, precision, strategy, accumulate))
    if json_:
        print(json.dumps(estimate.to_dict()))
        return
    console = Console()
    show(estimate, console if console.is_terminal else Console(width=120))
    if check:
        from mmgen.tools.plan.check import compare

        console.print(compare(recipe, precision))
