"""The server of the app: on this machine alone, without analytics, sharing, or anything fetched from elsewhere."""

import os
import socket
from pathlib import Path
from threading import Event
from typing import Any

import torch

from mmgen.apps.serve.guard import Guard
from mmgen.apps.serve.runs import LastLoaded, find_runs
from mmgen.core.errors import UserError
from mmgen.core.terminal import print_safely

HOST = "127.0.0.1"
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def launch(folder: str | Path, port: int, device: torch.device | str = "cpu", block: bool = True) -> Any:
    """Serve the page of the runs in a folder on 127.0.0.1 until the process is interrupted; where `block` is False,
    return the running app once the server answers, which then runs in a thread until `close()`. Raises UserError where
    gradio is not installed, the folder is none, or the port cannot be had.
    """
    count = len(find_runs(folder).paths)
    require_free(port)
    import_gradio()
    from fastapi.middleware import Middleware
    from fastapi.middleware.trustedhost import TrustedHostMiddleware

    from mmgen.apps.serve.page import build, theme_options

    blocks = build(Path(folder), LastLoaded(device))
    hosts = [HOST, "localhost"]
    # A page of another site that resolves its own name to this machine would name itself as the host.
    only_here = Middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    inputs = {number: len(event.inputs) for number, event in blocks.fns.items()}
    guard = Middleware(Guard, origins=tuple(f"http://{host}:{port}" for host in hosts), inputs=inputs)
    app = {"middleware": [only_here, guard], "openapi_url": None, "docs_url": None, "redoc_url": None}
    blocks.launch(
        server_name=HOST, server_port=port, share=False, inbrowser=False, quiet=True, show_error=False,
        max_file_size=1, allowed_paths=[], ssr_mode=False, pwa=False, mcp_server=False, run_history=False,
        enable_monitoring=False, footer_links=[], app_kwargs=app, prevent_thread_lock=True,
        **theme_options(),
    )  # fmt: skip
    print_safely(f"mmgen serve: http://{HOST}:{port} ({count} generators in {folder}; Ctrl-C ends)", flush=True)
    if block:
        try:
            Event().wait()
        finally:
            blocks.close(verbose=False)
    return blocks


def import_gradio() -> None:
    """Import gradio, with all that it does beyond this machine switched off. Raises UserError where it is not
    installed.
    """
    os.environ.update(_QUIET)  # gradio reads them when it is imported
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError:
        raise UserError("the app needs the package gradio: pip install 'mmgen[serve]'") from None


def require_free(port: int) -> None:
    """Raises UserError unless the port can be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"--port {port} cannot be had ({error.strerror}); choose another") from None
