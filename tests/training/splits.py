"""What test_splits.py starts under torchrun: several commands of mmgen, one after the other, in the same processes.

A command may begin with `kill=N`: then the processes die as they begin step N.
"""

import json
import os
import sys
from unittest.mock import patch

from mmgen.apps.cli.main import main
from mmgen.training import GeneratorModule


class Killed(BaseException):
    """What no handler catches, as a kill is."""


def dying(step: int):
    train = GeneratorModule.training_step

    def dies(self, batch, index):
        if self.trainer.global_step == step:
            raise Killed
        return train(self, batch, index)

    return patch.object(GeneratorModule, "training_step", dies)


def run(command: list[str]) -> int:
    if not command[0].startswith("kill="):
        return main(command)
    try:
        with dying(int(command[0].removeprefix("kill="))):
            return main(command[1:])
    except Killed:
        return 0


if __name__ == "__main__":
    codes = [run(command) for command in json.loads(sys.argv[1])]
    sys.stdout.flush()
    os._exit(max(codes))  # without waiting for threads of the process group
