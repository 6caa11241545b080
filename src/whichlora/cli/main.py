"""`whichlora`: the list of verbs. A verb's file is imported only when that verb is called.

The verb is picked here by hand rather than by a command group: `whichlora --help` then imports nothing, and the
typer of the day may change its groups as it likes.
"""

from __future__ import annotations

import importlib
import sys

from whichlora import __version__
from whichlora.errors import UnknownNameError

VERBS: dict[str, str] = {
    "demo": "The whole comparison on the embedded tiny model: no GPU, no download, minutes.",
    "doctor": "Is this machine ready, or a project whole? Every ✗ carries the line that fixes it.",
    "survey": "Which LoRAs exist for the base, which fit, and which are worth testing.",
    "inspect": "What is inside a LoRA file, and would it load?",
    "merge": "Several LoRAs made one file, by every method of PEFT, with the recipe in its header.",
    "init": "Create a project from your photographs.",
    "plan": "The matrix, its price, and what it can show, before anything is spent.",
    "fetch": "Download what a project needs, verified; reuse what is on disk.",
    "run": "Make the pictures: only what is missing, safe to interrupt.",
    "score": "Measure pictures: a project's, or a folder made elsewhere.",
    "packs": "Optional recognisers for identity, with their licences.",
    "review": "Judge blind, by keyboard, in your browser.",
    "report": "Decide from the stored scores and write the report.",
    "evaluate": "run, score and report in one go.",
    "tune": "Which near-lossless speed-ups leave your own scores alone?",
    "sweep": "The best weight of one LoRA, and whether another one is worth it.",
    "combine": "Stacks proposed from measured results, compared with their parts.",
    "chain": "One edit on the result of another, with the loss of each step.",
    "route": "The best candidate for every kind of edit, as one option with its cost.",
    "masks": "Do a segmentation LoRA's masks make the metrics better?",
    "judge": "A vision-language model's second opinion on pairs; it decides nothing.",
    "bases": "The same photographs and edits on another base, and bases side by side.",
    "watch": "Survey again, test what is new, and say whether the decision changes.",
    "export": "Data sets, trainer settings, workflows, scripts, and bundles that others can repeat.",
}

_LISTS = ("--refs", "--impostors", "--must-have")
"""Options that take a list."""

_HEAD = """\
Usage: whichlora VERB [OPTIONS]

Which image-editing LoRA keeps my character, is it good enough, or must I train my own?

Verbs, in the order in which you will want them:
"""

_TAIL = """
'whichlora VERB --help' explains a verb; every verb takes --json.
Exit status: 0 done; 1 the answer is "no"; 2 your input is wrong; 3 the machine or network failed; 130 interrupted.
Begin with: whichlora demo
"""


def help_text() -> str:
    """What `whichlora --help` prints."""
    width = max(len(verb) for verb in VERBS)
    return _HEAD + "".join(f"  {verb:<{width}}  {text}\n" for verb, text in VERBS.items()) + _TAIL


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `whichlora` command."""
    for stream in (sys.stdout, sys.stderr):
        # Windows consoles default to a code page that cannot show ✓ or Chinese prompts.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="replace")
    try:
        _answer(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        from whichlora.cli.output import reader_left

        reader_left()


def _answer(words: list[str]) -> None:
    if not words or words[0] in {"--help", "-h", "help"}:
        sys.stdout.write(help_text())
    elif words[0] == "--version":
        sys.stdout.write(f"whichlora {__version__}\n")
    else:
        _call(words[0], words[1:])


def _call(verb: str, rest: list[str]) -> None:
    """Import `cli/<verb>.py` and run its `command`."""
    if verb not in VERBS:
        from whichlora.cli.output import fail

        fail(UnknownNameError("verb", verb, VERBS, fix="See: whichlora --help"))
    import typer

    module = importlib.import_module(f"whichlora.cli.{verb}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name=verb, help=VERBS[verb])(module.command)
    app(spread(rest), prog_name=f"whichlora {verb}")


def spread(words: list[str]) -> list[str]:
    """Let options that take several values be written as shells expand them: '--refs a.jpg b.jpg'.

    Every word up to the next option belongs to the list, so other arguments stand before it.
    """
    spread_words: list[str] = []
    option = ""
    for position, word in enumerate(words):
        if word.startswith("-"):
            option = word if word in _LISTS else ""
            spread_words.append(word)
        elif option and words[position - 1] != option:
            spread_words += [option, word]
        else:
            spread_words.append(word)
    return spread_words


if __name__ == "__main__":
    main()
