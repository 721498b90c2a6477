"""Commands and groups that take the global options everywhere and load their parts when needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from tashictl.cli import errors_text, options, progress
from tashictl.errors import InvalidRequest, raise_all

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

CHANGES = "tashictl.changes"


class Lazy(Struct, frozen=True, kw_only=True):
    """A command that is imported when used: its module's `command`; `summary` is for --help."""

    module: str
    summary: str

    def load(self) -> click.Command | None:
        """The command, or None where this installation has no such module."""
        try:
            command = importlib.import_module(self.module).command
        except ModuleNotFoundError as error:
            if error.name != self.module:
                raise
            return None
        assert isinstance(command, click.Command)
        return command

    @property
    def exists(self) -> bool:
        """Whether the module is there; it is not imported."""
        from importlib.util import find_spec

        return find_spec(self.module) is not None


class _Face(click.Command):
    """A command that takes the global options and leaves them, merged, as `ctx.obj`."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, then the global ones, then --help."""
        own = super().get_params(ctx)
        params = [*own[:-1], *options.GLOBAL_OPTIONS, *own[-1:]]
        if ctx.resilient_parsing:
            from tashictl.cli import words

            words.attach(ctx, params)
        return params

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, but report all bad values at once, and merge the global options."""
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except click.BadParameter as error:
            raise_all(self._problems(ctx, given, error))
            raise
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser leaves it out for a missing value
            raise
        level = {o.name: ctx.params.pop(o.name, None) for o in options.GLOBAL_OPTIONS if o.name}
        ctx.obj = options.merge(ctx.obj, level)
        return rest

    def _problems(
        self, ctx: click.Context, given: list[str], first: click.BadParameter
    ) -> list[InvalidRequest]:
        values, rest, _order = self.make_parser(ctx).parse_args(args=given)
        found: list[click.BadParameter] = []
        for param in self.get_params(ctx):
            try:
                _value, rest = param.handle_parse_result(ctx, values, rest)
            except click.BadParameter as error:
                found.append(error)
        return errors_text.from_usages(found or [first])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, and only name the global ones (but in the root)."""
        of_all = set(options.GLOBAL_OPTIONS)
        own = [
            p.get_help_record(ctx)
            for p in self.get_params(ctx)
            if p not in of_all and isinstance(p, click.Option)
        ]
        shared = [o.get_help_record(ctx) for o in options.GLOBAL_OPTIONS]
        if ctx.parent is None:
            own = shared + own
        if rows := [row for row in own if row is not None]:
            with formatter.section("Options"):
                formatter.write_dl(rows)
        if ctx.parent is not None:
            with formatter.section("Global options (tashictl --help)"):
                names = (" ".join((*o.opts, *o.secondary_opts)) for o in options.GLOBAL_OPTIONS)
                formatter.write_text(", ".join(names))
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)


class _Verb(_Face):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb with the log on stderr that -v asks for."""
        progress.log_to_stderr(ctx.obj)
        return super().invoke(ctx)


class Reading(_Verb):
    """A verb that changes nothing."""


class Changing(_Verb):
    """A verb that changes something: when it is refused, main says that nothing was changed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; --filter is refused, since it would look as if it chose the targets."""
        ctx.meta[CHANGES] = True
        rest = super().parse_args(ctx, args)
        if ctx.obj.filter is not None and not ctx.resilient_parsing:
            raise InvalidRequest(
                "E-USAGE",
                f"'{ctx.command_path}' takes no --filter",
                cause="a filter chooses what a list shows, not what a verb acts on",
                hint="name the targets; names may be patterns like 'web*'",
            )
        return rest


class Noun(_Face, click.Group):
    """A group of verbs (or of nouns), declared in its own file or loaded when used.

    `lazy` maps a name to where its command is; `--help`, suggestions and completion read only the
    names and summaries in it.
    """

    def __init__(
        self, name: str | None = None, *, lazy: Mapping[str, Lazy] | None = None, **attrs: Any
    ) -> None:
        super().__init__(name, no_args_is_help=False, **attrs)
        self.lazy = dict(lazy or {})

    def reads(self, name: str, **attrs: Any) -> Callable[[Callable[..., Any]], click.Command]:
        """Declare a verb that changes nothing, as a decorator."""
        return self.command(name, cls=Reading, **attrs)

    def changes(self, name: str, **attrs: Any) -> Callable[[Callable[..., Any]], click.Command]:
        """Declare a verb that changes something, as a decorator."""
        return self.command(name, cls=Changing, **attrs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which they were declared."""
        del ctx
        later = (name for name, entry in self.lazy.items() if entry.exists)
        return list(dict.fromkeys((*self.commands, *later)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded now if it is lazy, or None."""
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in self.lazy:
            return self.lazy[cmd_name].load()
        return found

    def summary(self, ctx: click.Context, name: str) -> str:
        """One line about a command, without loading it."""
        if name in self.lazy and name not in self.commands:
            return self.lazy[name].summary
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=80) if command else ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; without any argument print the help on stderr and exit 2."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), file=ctx.obj.streams.stderr)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; raises InvalidRequest that names the nearest one."""
        name = args[0]
        if not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            raise errors_text.unknown_command(ctx.command_path, name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names and summaries."""
        names = self.list_commands(ctx)
        if names:
            with formatter.section("Commands"):
                formatter.write_dl([(name, self.summary(ctx, name)) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names without loading their commands, then options."""
        from click.shell_completion import CompletionItem

        names = [n for n in self.list_commands(ctx) if n.startswith(incomplete)]
        items = [CompletionItem(n, help=self.summary(ctx, n)) for n in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]
