"""`mmgen plan`: what a training run will take, before it is started."""

from typing import Any

from mmgen.core.command_options import dataclass_options, show_options
from mmgen.core.terminal import print_safely
from mmgen.tools.plan.setup import Setup


def run(
    config: str,
    set_: list[str] | None = None,
    spec: str | None = None,
    classes: int | None = None,
    check: bool = False,
    json_: bool = False,
    **setup: Any,
) -> None:
    """Print parameters by part, operations per token, memory of a device by part, tokens a second and days.

    Nothing is trained and no accelerator is needed. The parts that exist once are run on a few rows on this CPU, a
    block of the backbone on a few positions, and the rest is multiplication; so a plan holds for every paradigm, mask
    and kind of token. Neither the data nor a trained tokenizer has to be here: the recipe of the tokenizer says what it
    yields, or --spec does.

    Operations are those of the model (PaLM's count): a backward pass is twice its forward pass, and recomputation is
    not counted. Attention is reported twice, for all pairs of positions and for those that the mask shows; the expected
    speed counts all pairs. 40 % of a device's best rate is good for a transformer on one machine, over many machines
    expect less; measure yours with a short run, and plan again with that --mfu.

    Args:
        config: a recipe, its folder, or a run folder.
        set_: KEY=VALUE, over what the recipe says, such as model.backbone.size=xl; may be given several times.
        spec: KIND:SIZE:TxHxW of the tokens (categorical, bits or continuous), or residual:SIZE:TxHxW:LEVELS.
        classes: of the condition; those of the data by default.
        check: run the model here, forward and backward, and print the plan next to what was measured.
        json_: one JSON object instead of tables.
    """
    import json

    from mmgen.core.console import SafeConsole
    from mmgen.tools.plan.estimate import plan
    from mmgen.tools.plan.recipe import Recipe
    from mmgen.tools.plan.table import show

    recipe = Recipe.read(config, set_ or [], spec, classes)
    estimate = plan(recipe, Setup(**setup))
    if json_:
        print_safely(json.dumps(estimate.to_dict()))
        return
    console = SafeConsole()
    show(estimate, console)
    if check:
        from mmgen.tools.plan.check import compare

        console.print(compare(recipe, setup["precision"]))


show_options(run, dataclass_options(Setup))
