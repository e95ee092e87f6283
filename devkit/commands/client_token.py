"""Signs a token for a client that joins the avatar's channel."""

import json
import os
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import package
from ..graph import (
    FileError,
    Node,
    Resolved,
    configure,
    read,
    resolve,
    with_source,
)
from ..graph.env_file import read_env_file
from ..graph.neighbors import avatars_beside, rtc_nodes_beside, rtc_nodes_in
from ..graph.product import config, token
from ..graph.product import params as rules
from ..graph.resolve import uid_of
from .output import print_line, run

REFUSED, UNUSABLE = 1, 2


class TokenRefused(Exception):
    """No token is signed; `reasons` say why, one sentence each."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


def main(
    uid: Annotated[
        int,
        typer.Option(
            help="The client's uid in the channel; not the avatar's.",
            show_default=False,
        ),
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The extension's property.json, a TEN app's, or a graph "
            "file; without one the property.json of this package.",
            show_default=False,
        ),
    ] = package.ROOT / "property.json",
    node: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The node, where a graph has several avatars."
        ),
    ] = None,
    env_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Read environment variables from this file, such as "
            "ai_agents/.env.",
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The channel of a session, where TEN's agent server fills "
            "it in.",
        ),
    ] = None,
    minutes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=24 * 60,
            help="How long the token is to be valid; without it as long as "
            "the session (session_expire_minutes).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the arguments of player.connect({...}) for a client, as JSON.

    It is signed with the App Certificate of the avatar's configuration. For
    development only: in production your own backend signs short-lived tokens
    for the users it knows.

    Exit code: 0 the token is on stdout, 1 none was signed, 2 the file cannot
    be used.
    """
    errors = Console(stderr=True, highlight=False)
    try:
        if env_file is not None:
            os.environ.update(read_env_file(env_file)[0])
        contents = read(file)
        if channel is not None:
            contents.start_in(channel)
        nodes = contents.nodes(package.NAME, node)
        if len(nodes) > 1:
            names = ", ".join(found.name for found in nodes)
            raise FileError(
                f"{file} has several avatars ({names}); name one with --node"
            )
        if contents.defects:
            raise TokenRefused(*contents.defects)
        answer = sign(nodes[0], uid, minutes, time.time())
    except (FileError, TokenRefused) as error:
        is_refused = isinstance(error, TokenRefused)
        for reason in error.reasons if is_refused else [str(error)]:
            print_line(errors, reason, "red")
        raise typer.Exit(REFUSED if is_refused else UNUSABLE) from None
    for warning in (
        *warnings_about(nodes[0], uid),
        "For development only. In production your own backend signs "
        "short-lived tokens; the App Certificate never goes to a client.",
    ):
        print_line(errors, warning, "yellow")
    print(json.dumps(answer, indent=2))


def sign(
    node: Node, uid: int, minutes: int | None, now_s: float
) -> dict[str, Any]:
    """Return the arguments of `player.connect` and the token's end.

    Raises `TokenRefused`, `FileError`.
    """
    resolved = resolve(node, os.environ)
    if resolved.is_channel_open:
        raise TokenRefused(
            "channel: empty, so that TEN's agent server fills in that of "
            "each session. Name the session's with --channel NAME"
        )
    _leave_out_spatius(resolved)
    try:
        loaded = configure(resolved, now_s)
    except config.ConfigError as error:
        problems = [with_source(one, resolved) for one in error.problems]
        raise TokenRefused(*problems) from error
    params = loaded.params
    _refuse_uid(params, uid)
    _refuse_uid_of_others(resolved, uid)
    certificate = _certificate(params)
    expires_at_s = int(now_s) + 60 * (minutes or params.session_expire_minutes)
    return {
        "appId": params.agora_appid,
        "channel": params.agora_channel,
        "token": token.sign(
            params.agora_appid,
            certificate,
            params.agora_channel,
            uid,
            expires_at_s,
        ),
        "uid": uid,
        "tokenEndsAt": datetime.fromtimestamp(
            expires_at_s, timezone.utc
        ).isoformat(),
        "tokenEndsAtEpochS": expires_at_s,
    }


def warnings_about(node: Node, uid: int) -> list[str]:
    """Return why the agent would not hear a client with this uid."""
    resolved = resolve(node, os.environ)
    rtc_nodes = rtc_nodes_beside(resolved)
    return [
        f"{rtc} subscribes to the uid {wanted} only (remote_stream_id): the "
        f"agent would not hear a client with the uid {uid}. Take --uid "
        f"{wanted}, or have TEN's agent server put the client's uid there "
        "(user_uid of /start)"
        for rtc in rtc_nodes_in(resolved.channel, rtc_nodes)
        if (wanted := uid_of(rtc_nodes[rtc].get("remote_stream_id", "")))
        not in ("", str(uid))
    ]


def _leave_out_spatius(resolved: Resolved) -> None:
    """Ask for nothing that an Agora token has nothing to do with."""
    params = resolved.tree.get("params")
    for name in rules.Params.model_fields:
        if not name.startswith("spatius_"):
            continue
        resolved.problems.pop(f"params.{name}", None)
        if isinstance(params, dict):
            params[name] = "not-needed"


def _refuse_uid(params: Any, uid: int) -> None:
    if not 1 <= uid <= rules.MAX_UID:
        reason = "a token for uid 0 would let anybody in as anybody. "
        raise TokenRefused(
            f"--uid {uid}: {'' if uid else reason}Expected a whole "
            f"number from 1 to {rules.MAX_UID}"
        )
    if uid == params.agora_uid:
        raise TokenRefused(
            f"--uid {uid} is the avatar's own (params.agora_uid): two "
            "participants with one uid kick each other out of the "
            "channel. Choose another one"
        )


def _refuse_uid_of_others(resolved: Resolved, uid: int) -> None:
    """Refuse the uid of another participant of the channel."""
    if resolved.node.graph is None:
        return
    for other in avatars_beside(resolved):
        if other.uid == str(uid):
            raise TokenRefused(
                f"--uid {uid} is that of the avatar {other.node.name}. "
                "Choose another one"
            )
    rtc_nodes = rtc_nodes_beside(resolved)
    for rtc in rtc_nodes_in(resolved.channel, rtc_nodes):
        if uid_of(rtc_nodes[rtc].get("stream_id")) == str(uid):
            raise TokenRefused(
                f"--uid {uid} is the agent's own (stream_id of {rtc}). "
                "Choose another one"
            )


def _certificate(params: Any) -> str:
    if params.agora_appcert is None:
        raise TokenRefused(
            "params.agora_appcert: needed to sign a token for a client, "
            "and not set. The given params.agora_token is the avatar's "
            "and lets no other uid in, unless whoever made it signed it "
            "for uid 0, that is for any uid. Set AGORA_APP_CERTIFICATE, "
            "or have the same backend make a token for the client's uid"
        )
    certificate = params.agora_appcert.get_secret_value()
    # With a given token config.py lets these pass, because it signs nothing.
    reasons = [
        f"params.{name}: expected 32 hexadecimal digits to sign with, got "
        f"{len(value)} characters"
        for name, value in (
            ("agora_appid", params.agora_appid),
            ("agora_appcert", certificate),
        )
        if not re.fullmatch("[0-9a-fA-F]{32}", value)
    ]
    if reasons:
        raise TokenRefused(*reasons)
    return certificate


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    run(app, "bin/client-token")
