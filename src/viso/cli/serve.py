"""``viso serve``: the studio in a browser."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viso.cli.console import out
from viso.errors import ConfigError, ModelError, how_to_install
from viso.models import registry

if TYPE_CHECKING:
    from viso.studio import StudioConfig

__all__ = ["serve"]

_LOCAL = ("localhost", "127.0.0.1", "::1")
_WILD = ("0.0.0.0", "::", "")  # noqa: S104


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is all of the machine's.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    data: Annotated[
        Path | None, typer.Option(help="Folder for songs and stems, if not the usual one.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="VISO_TOKEN",
            help="What visitors must know; needed for every other host than this one.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name by which browsers call the studio; may be said repeatedly."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model on offer, the default first; all, if none is said."),
    ] = None,
    max_upload: Annotated[str, typer.Option(help="Largest song.")] = "500MB",
    min_upload_rate: Annotated[
        str, typer.Option(help="What an upload must bring a second, after its first 10 s.")
    ] = "10kB",
    max_uploads: Annotated[int, typer.Option(min=1, help="Uploads at a time.")] = 64,
    max_length: Annotated[str, typer.Option(help="Longest song.")] = "60m",
    max_queue: Annotated[int, typer.Option(min=1, help="Jobs that may wait.")] = 100,
    keep: Annotated[str, typer.Option(help="How long songs and stems are kept.")] = "24h",
    min_free: Annotated[str, typer.Option(help="What stays free on the disk.")] = "1GB",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Songs at a time.")] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of a network; 0 takes all cores.")
    ] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Serve the studio: songs in, vocals and instrumental out, in a browser."""
    try:
        from viso.studio import StudioConfig, as_bytes, as_seconds
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed; viso serve needs the extra [web]: "
            f"{how_to_install('web')}"
        ) from error
    _check_token(host, token)
    values: dict[str, Any] = {
        "data": data or _usual_folder(),
        "token": token,
        "hosts": (*_LOCAL, *([] if host in _WILD else [host]), *(allow_host or [])),
        "any_address": host in _WILD,
        "models": tuple(model or ()),
        "upload_bytes": as_bytes(max_upload, option="--max-upload"),
        "upload_rate": as_bytes(min_upload_rate, option="--min-upload-rate"),
        "n_uploads": max_uploads,
        "length_s": as_seconds(max_length, option="--max-length"),
        "queue": max_queue,
        "keep_s": as_seconds(keep, option="--keep"),
        "free_bytes": as_bytes(min_free, option="--min-free"),
        "n_jobs": jobs,
        "threads": threads,
    }
    _run(StudioConfig.from_mapping(values, origin="viso serve"), host, port, opens=open_)


def _check_token(host: str, token: str | None) -> None:
    if token is None and host not in _LOCAL:
        raise ConfigError(
            f"--host {host}: others could reach the studio; set a token that they must know: "
            "export VISO_TOKEN=$(openssl rand -hex 16), and put a proxy with TLS in front, else "
            "everybody on the way can read it"
        )


def _usual_folder() -> Path:
    try:
        return registry.user_folder().parent / "studio"
    except ModelError as error:
        raise ConfigError("this account has no home folder; say --data") from error


def _run(config: StudioConfig, host: str, port: int, *, opens: bool) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    from viso.http.connections import listen, server_config
    from viso.studio import create_app

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            # Open streams of events would otherwise delay the end until their visitors leave.
            application.state.studio.events.close()
            super().handle_exit(sig, frame)

    with listen(host, port) as listener:
        application = create_app(config)
        shown = f"[{host}]" if ":" in host else "127.0.0.1" if host in _WILD else host
        url = f"http://{shown}:{listener.getsockname()[1]}/"
        out().print(f"the studio is at {url} and keeps its files in {config.data}; Ctrl-C ends it")
        if opens:
            timer = threading.Timer(1.0, webbrowser.open, [url])
            timer.daemon = True
            timer.start()
        try:
            Server(server_config(application)).run(sockets=[listener])
        except KeyboardInterrupt:
            return  # the usual way to end the studio
