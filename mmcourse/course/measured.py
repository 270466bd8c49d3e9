"""What stands on the book's results page beside the README's table: speed beside peers, growth, traces, a card.

Each function takes tables as they lie under ``results/`` and gives lines of Markdown; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Table = Mapping[str, Any]
NOT_YET = "not yet measured"
ON_CARD = "python -m benchmarks.gpu --out results"
PEERS = {"cgan": "PyTorch-GAN's cgan", "dcgan": "PyTorch-GAN's dcgan", "df-gan": "DF-GAN"}
#: What is measured on a card: a part of ``benchmarks.gpu``, and what it tells.
PARTS = {
    "ceiling": "the product of two matrices of 8192x8192",
    "step": "a text-to-image update: its share of that product",
    "text": "two things and their relation right, 99.5 % seen and 97 % held out",
    "labels": "MNIST digits read as asked, 99.3 %",
    "peers": "pictures a second beside the peers, at equal operations",
    "quality": "quality over seconds beside the peers",
    "scaling": "growth with batch, width, resolution and things",
    "trace": "where an update's time goes",
    "checkpoints": "the models of the course in the `gpu` profile",
}


def page(tables: Mapping[str, Table]) -> list[str]:
    """All sections, from the tables by their files' names without ``.json``."""
    out = ["## Beside what a learner would run instead", ""]
    found = [(f"{name}: {part}", row) for name, part, row in _peers_parts(tables)]
    for title, row in found:
        out += [f"### {title}", "", *(peers(row) if "peers" in row else quality(row)), ""]
    if not found:
        out += [f"On a CPU: {NOT_YET}, `python -m benchmarks.beside_peers throughput`.", ""]
    sections = (("How time and memory grow", "scaling", scaling), ("Where the time of an update goes", "trace", trace))
    for title, name, section in sections:
        out += [f"## {title}", ""]
        table = tables.get(f"{name}_cpu")
        out += section(table) if table else [f"On a CPU: {NOT_YET}, `python -m benchmarks.{name}`."]
        out.append("")
    return [*out, *card(tables)]


def _peers_parts(tables: Mapping[str, Table]) -> Iterator[tuple[str, str, Table]]:
    for name in sorted(t for t in tables if t.startswith("beside_peers_")):
        for part, row in tables[name].get("parts", {}).items():
            if "peers" in row or "text" in row or "digits" in row:
                yield name.removeprefix("beside_peers_").upper().replace("CUDA", "GPU"), part, row


def peers(table: Table) -> list[str]:
    """Pictures a second of ours and of each peer, at equal operations a picture, the median and its range."""
    out = [
        f"{_machine(table)}. In turns in one process, median and range. Our networks are widened until they cost as "
        "many operations as the peer's. Peers run as they ship, and with all that makes them faster.",
        "",
        "| who | pictures a second | M operations a picture | of the ceiling | times the peer |",
        "|---|---|---|---|---|",
    ]
    for name, peer in table["peers"].items():
        out.append(_row([f"**{PEERS.get(name, name)}, batch {peer['batch']}**", "", "", "", ""]))
        for who, row in peer["rows"].items():
            times = {k.removeprefix("times the peer, "): v for k, v in row.items() if k.startswith("times the peer, ")}
            cells = [who, _range(row["images_a_second"]), f"{row['operations_an_image'] / 1e6:,.0f}"]
            cells += [_percent(row["share_of_ceiling"]), "; ".join(f"{k} {v['median']:g}" for k, v in times.items())]
            out.append(_row(cells))
    return out


def quality(table: Table) -> list[str]:
    """How soon ours and a peer are how good, a row for each measure and seed."""
    within = f"not within {table['seconds']:.0f} s"
    out = [
        f"{_machine(table)}. In turns of {table['slice']:.0f} s in one process, each at its own sizes. The clock "
        "stands still while pictures are measured.",
        "",
        "| what | ours | peer |",
        "|---|---|---|",
    ]
    for row in table.get("text", []):
        head, ours = f"one thing by its caption, beside DF-GAN, seed {row['seed']}: ", row["curves"]["ours"][-1]
        end = f"{_percent(ours['seen'])} after {ours['seconds']:.0f} s"
        out.append(_row([f"{head}right at the end, at best", end, _percent(row["peers_best"])]))
        for share, when in row["seconds_to"].items():
            out.append(_row([f"seconds to {share}", *(_when(when[who], within) for who in ("ours", "peer"))]))
    for row in table.get("digits", []):
        head, ours = f"digits, beside PyTorch-GAN's dcgan, seed {row['seed']}: ", row["curves"]["ours"][-1]
        end = f"{ours['frechet']:.0f} after {ours['seconds']:.0f} s"
        out.append(_row([f"{head}Frechet distance at the end, at best", end, f"{row['peers_best']:.0f}"]))
        soon = _when(row["ours_at_peers_best"], within)
        out.append(_row(["seconds to the peer's best", soon, f"{row['peer_seconds_at_its_best']:.0f}"]))
    return out


def _when(seconds: float | None, never: str) -> str:
    return never if seconds is None else f"{seconds:.0f}"


def scaling(table: Table) -> list[str]:
    """Time, operations and memory: one small table for each thing that grows, the base among its rows."""
    how = "" if table.get("how", "loop") == "loop" else f", {table['how']}"
    out = [
        f"{_machine(table)}{how}. {_sentence(table['what'])} Time is that of one update or drawing, "
        f"in {table['clock']}: the median of {table['rounds']} rounds in which all cases took turns, with its range. "
        "Operations are those of convolutions and products, for each picture. Memory: what lies there between updates, "
        f"and the most that eight of them take beside it ({table['memory']}).",
    ]
    base, recipe = table["rows"][0], table["recipe"]
    own = {"batch": base["batch"], "width": 1, "resolution": recipe["resolution"]}
    for axis, said in table["axes"].items():
        rows = [row for row in table["rows"] if row["axis"] == axis]
        if not rows:
            continue
        what, unit = said.split("; ")
        if axis in own:
            rows = sorted([*rows, {**base, "size": own[axis]}], key=lambda row: row["size"])
        out += [
            "",
            f"**{what[0].upper()}{what[1:]}.**",
            "",
            f"| {unit} | ms | times the base | M operations | MB | MB more |",
        ]
        out.append("|---|---|---|---|---|---|")
        for row in rows:
            cells = [f"{row['size']:g}" + (", the base" if row["axis"] == "base" else ""), _range(row["ms"])]
            cells += [f"{row['to_base']['median']:g}", f"{row['mflop_a_picture']:,.0f}"]
            out.append(_row([*cells, f"{row['held_mb']:g}", f"{row['peak_mb']:g}"]))
    return out + [f"\nLeft out: {'; '.join(table['left_out'])}." for _ in table["left_out"][:1]]


def trace(table: Table) -> list[str]:
    """Shares of an update's time by kind, and its largest gaps, one column for each way of running it."""
    rows = table["rows"]
    heads = [f"{row['how']}, {_threads(row['threads'])}" for row in rows]
    kinds = dict.fromkeys(kind for row in rows for kind in row["recorded"]["kinds"])
    out = [f"{_name(table)}. {_sentence(table['what'])}", "", _row(["", *heads]), _row(["---"] * (1 + len(rows)))]
    times = [_range(row["ms_a_step_unrecorded"]) for row in rows]
    out += [_row(["ms an update, not recorded: the five least", *times])]
    out += [_row(["the same while recorded", *(f"{row['recorded']['ms_a_step']:.1f}" for row in rows)])]
    for kind in kinds:
        shares = [row["recorded"]["kinds"].get(kind) for row in rows]
        out.append(_row([kind, *(_percent(s["share"]) if s else "" for s in shares)]))
    out.append(_row(["**nothing runs**", *(_percent(row["recorded"]["idle"]["share"]) for row in rows)]))
    for head, row in zip(heads, rows, strict=True):
        idle = row["recorded"]["idle"]
        if "largest" not in idle:
            continue
        one, most = idle["largest"], idle["most_together"]
        out += ["", f"{head}: the largest gap takes {one['us']:,.0f} microseconds, {_between(one)}. Most time together"]
        out[-1] += f" goes into the gaps {_between(most)}: {_percent(most['share'])}, {most['times']} of them."
    return out


def card(tables: Mapping[str, Table]) -> list[str]:
    """What was measured on a card, or that it was not yet, with the command that does."""
    here = {part: tables[f"{part}_gpu"] for part in PARTS if f"{part}_gpu" in tables}
    about = (tables.get("card_gpu") or next(iter(here.values()), {})).get("machine", {})
    out = ["## On a GPU", ""]
    if about.get("gpu"):
        names = (
            ("gpu_memory_gb", "GB"),
            ("driver", "driver"),
            ("cuda", "CUDA"),
            ("cudnn", "cuDNN"),
            ("torch", "torch"),
        )
        told = [f"{about[k]} GB" if name == "GB" else f"{name} {about[k]}" for k, name in names if about.get(k)]
        out += [f"{about['gpu']}: {', '.join(told)}.", ""]
    else:
        out += [f"Nothing here has been measured on a GPU yet. `{ON_CARD}` measures what ten minutes allow.", ""]
    out += [f"A part alone: `{ON_CARD} --parts PART`.", "", "| part | what | measured |", "|---|---|---|"]
    for part, what in PARTS.items():
        told_part = _told(part, here[part]) if part in here else NOT_YET
        out.append(_row([f"`{part}`", what, told_part]))
    for part, section in (("step", steps), ("peers", peers), ("scaling", scaling), ("trace", trace)):
        if here.get(part, {}).get("rows") or here.get(part, {}).get("peers"):
            out += ["", f"### On a GPU: {PARTS[part]}", "", *section(here[part])]
    return out


def steps(table: Table) -> list[str]:
    """One update at each size and in each way of playing it."""
    out = [
        f"{_sentence(table['what'])} The product: {table['product']:g} tera-operations a second.",
        "",
        "| how | width, batch | ms | pictures a second | share of the product | the first eight, compiling, s |",
        "|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        size = f"{row['width']}, {row['batch']}"
        if "error" in row:
            out.append(_row([row["how"], size, f"failed: {row['error']}", "", "", ""]))
            continue
        cells = [
            row["how"] + ("*" if "said" in row else ""),
            size,
            _range(row["ms"]),
            f"{row['pictures_a_second']['median']:,.0f}",
            _percent(row["share"]),
        ]
        out.append(_row([*cells, f"{row['seconds_of_the_first_eight']:g}"]))
    told = [
        f"\\* {row['how']}, {row['width']}, {row['batch']}: {row['said']}" for row in table["rows"] if "said" in row
    ]
    return [*out, *(line for text in told for line in ("", text))]


def _told(part: str, table: Table) -> str:
    """A part's main figure in words, and its error where there was one."""
    said = {"ceiling": _ceiling, "step": _best, "text": _reached, "labels": _reached, "peers": _beside}.get(
        part, _there
    )
    try:
        told = said(table)
    except (KeyError, IndexError, ValueError, TypeError):  # a part that failed before its first row
        told = NOT_YET
    return f"{told} ({table['error']})" if "error" in table else told


def _ceiling(table: Table) -> str:
    return f"{table['bfloat16']:.0f} tera-operations a second in bfloat16, {table['float32']:.0f} in float32"


def _best(table: Table) -> str:
    best = max((row for row in table["rows"] if "share" in row), key=lambda row: row["share"])
    rate = f"{best['pictures_a_second']['median']:,.0f} pictures a second"
    return f"{_percent(best['share'])}, {rate}: {best['how']}, width {best['width']}, batch {best['batch']}"


def _reached(table: Table) -> str:
    end = table.get("end") or table["curve"][-1]
    told = ", ".join(f"{name.replace('_', ' ')} {_percent(end[name])}" for name in table["targets"])
    if "all" in table["reached"]:
        return f"after {table['reached']['all']:.0f} s, compiling included; in the end {told}"
    return f"not reached in {table['curve'][-1]['seconds']:.0f} s; then {told}"


def _beside(table: Table) -> str:
    told = []
    for name, peer in table["peers"].items():
        ours = [row for who, row in peer["rows"].items() if who.startswith("ours")]
        best, shipped = (
            max(row[f"times the peer, {how}"]["median"] for row in ours) for how in ("at its best", "as shipped")
        )
        told.append(f"{PEERS.get(name, name)} at its best {best:.1f} times, as shipped {shipped:.1f} times")
    return "; ".join(told)


def _there(table: Table) -> str:
    rows = [row for row in table.get("rows", [1]) if not (isinstance(row, dict) and "error" in row)]
    if "rows" in table and isinstance(rows[0], dict) and "figure" in rows[0]:
        return "; ".join(f"{row['name']}: {row['figure']}" for row in rows)
    return "see below" if "rows" in table else "in the file"


def _name(table: Table) -> str:
    about = table.get("machine", {})
    return str(about.get("gpu") or about.get("cpu", ""))


def _machine(table: Table) -> str:
    return f"{_name(table)}, {_threads(table.get('threads', table.get('machine', {}).get('threads', 1)))}"


def _threads(n: int) -> str:
    return f"{n} thread{'' if n == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _between(gap: Table) -> str:
    return f"between `{gap['before']}` and `{gap['after']}`"


def _range(row: Mapping[str, float]) -> str:
    low, high = row.get("low", row.get("least", 0.0)), row.get("high", row.get("most", 0.0))
    return f"{row['median']:g} ({low:g} to {high:g})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
