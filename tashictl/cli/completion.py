"""`tashictl completion SHELL`: the script that a shell reads to complete our command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tashictl.cli import commands, options, output


@click.command("completion", cls=commands.Reading)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: tashictl completion bash > ~/.local/share/bash-completion/completions/tashictl
    zsh:  tashictl completion zsh > a folder of $fpath, as _tashictl
    fish: tashictl completion fish > ~/.config/fish/completions/tashictl.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "tashictl", "_TASHICTL_COMPLETE").source()
    face: options.Globals = ctx.obj
    output.write(face, script)
