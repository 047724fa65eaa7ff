"""A process that has imported what `mmgen fit` needs and starts it in children, each of which can be killed: importing
anew for every life would take most of the time.

Run as `python -m tests.soak.lives`; it reads lines of JSON, the arguments of a command, and answers each with two
lines, the child's process id and then its exit status as `subprocess` gives it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


class Lives:
    """The other end of it, in the process of the test."""

    def __init__(self, log: Path) -> None:
        self.log = log
        root = str(Path(__file__).parents[2])
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.lives", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def live(self, args: list[str], meanwhile: Callable[[int], None] = lambda _: None) -> int:
        """Run a command in a child; returns its exit status, -9 where it was killed.

        Args:
            args: what stands after `mmgen`.
            meanwhile: is given the process id, while the child runs.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(args) + "\n")
        self._server.stdin.flush()
        meanwhile(int(self._server.stdout.readline()))
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the server, which ends by itself when nobody can ask it any more."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)


def serve(log: str) -> None:
    """Answer requests until there are no more."""
    import mmgen.apps.cli.fit  # noqa: F401  # what takes long
    from mmgen.apps.cli.main import main

    for line in sys.stdin:
        child = os.fork()
        if not child:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os._exit(main(json.loads(line)))
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
