"""The command `completion`: print the script that completes commands and options in a shell."""

from sip_trunks.commands.options import Options, Parser


def add_arguments(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "shell",
        choices=("bash", "zsh", "fish"),
        help="shell; docs/operations.md shows where to put the script",
    )


def run(_: None, options: Options) -> int:
    """Print the script, with the options of every command and the names of reports and rules."""
    import shtab

    from sip_trunks.commands.dispatch import build_parser
    from trunk_transforms.audit.rules import RULES
    from trunk_transforms.schema.reports import REPORTS

    rules = tuple(RULES)
    names = {"report names": tuple(REPORTS), "rules names": rules, "audit select": rules, "audit ignore": rules}
    kinds = {"output": shtab.FILE, "config": shtab.DIRECTORY, "data_dir": shtab.DIRECTORY, "folder": shtab.DIRECTORY}

    def complete(parser: Parser) -> None:
        parser.complete()
        for action in parser._actions:  # noqa: SLF001 - argparse has no public name for them
            action.choices = names.get(f"{parser.prog.rpartition(' ')[2]} {action.dest}", action.choices)
            if action.dest in kinds:
                action.complete = kinds[action.dest]  # type: ignore[attr-defined]
            for child in action.choices.values() if isinstance(action.choices, dict) else ():
                complete(child)

    parser = build_parser()
    complete(parser)
    print(shtab.complete(parser, options.shell))
    return 0
