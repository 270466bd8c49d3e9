// The page "training time machine": a stored run, moved through by a slider.

import { button, field, make, start } from "./page.mjs";
import { json } from "./run.mjs";

const NAME = "time_machine_cpu";
const SIDE = 32;
const CURVES = [
  { key: "seen", label: "seen compositions right", dash: "" },
  { key: "held_out", label: "held-out compositions right", dash: "7 4" },
];
const LOSSES = [
  { key: "d", label: "loss of D", dash: "" },
  { key: "g", label: "loss of G", dash: "7 4" },
];
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const percent = (value) => `${(100 * value).toFixed(0)} %`;

/** Curves over the moments of a run; `mark(i)` moves the upright line. The step axis is that of the slider. */
function chart(title, run, curves, format, full = null) {
  const [width, height, left, right, top, bottom] = [560, 190, 52, 8, 24, 34];
  const moments = run.moments;
  const values = moments.flatMap((m) => curves.map((c) => m[c.key]).filter((v) => v !== undefined));
  const highest = full ?? Math.max(...values);
  const most = highest * 1.05;
  const x = (i) => left + ((width - left - right) * i) / (moments.length - 1);
  const y = (v) => height - bottom - ((height - top - bottom) * v) / most;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "live-chart", "aria-label": title });
  for (const share of [0, 0.5, 1]) {
    const value = highest * share;
    root.append(
      svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "live-grid" }),
      svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
    );
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const i = Math.round(share * (moments.length - 1));
    const anchor = share === 1 ? "end" : "middle";
    root.append(svg("text", { x: x(i), y: height - bottom + 16, "text-anchor": anchor }, String(moments[i].step)));
  }
  root.append(svg("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, "step"));
  curves.forEach((curve, k) => {
    const points = moments.map((m, i) => [i, m[curve.key]]).filter(([, v]) => v !== undefined);
    const path = points.map(([i, v], n) => `${n ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
    root.append(
      svg("path", { d: path, class: `live-curve live-curve-${k}`, "stroke-dasharray": curve.dash }),
      svg("line", { x1: left + 4 + 250 * k, x2: left + 34 + 250 * k, y1: 10, y2: 10, class: `live-curve live-curve-${k}`, "stroke-dasharray": curve.dash }),
      svg("text", { x: left + 40 + 250 * k, y: 14 }, curve.label),
    );
  });
  const line = svg("line", { y1: top, y2: height - bottom, class: "live-now" });
  root.append(line);
  const mark = (i) => {
    line.setAttribute("x1", x(i));
    line.setAttribute("x2", x(i));
    const told = curves.map((c) => (moments[i][c.key] === undefined ? "" : `${c.label} ${format(moments[i][c.key])}`));
    root.setAttribute("aria-label", `${title}. At step ${moments[i].step}: ${told.filter(Boolean).join(", ") || "no value yet"}.`);
  };
  return { root, mark };
}

start(async (root, say) => {
  const run = await json(`runs/${NAME}.json`);
  const sheet = new Image();
  sheet.src = new URL(`../runs/${NAME}.png`, import.meta.url);
  await sheet.decode().catch(() => {
    throw new Error("The run's pictures could not be fetched. Reload the page.");
  });
  const last = run.moments.length - 1;
  const slider = make("input", { type: "range", min: 0, max: last, value: 0 });
  const now = make("output", { for: "live-time" });
  slider.id = "live-time";
  const figures = run.captions.map((caption) => {
    const canvas = make("canvas", { width: SIDE, height: SIDE, role: "img" });
    const chinese = /[㐀-鿿]/.test(caption);
    const below = make("figcaption", chinese ? { lang: "zh" } : {}, caption);
    return { canvas, caption, figure: make("figure", { class: "live-picture live-medium" }, canvas, below) };
  });
  const right = chart("Share of captions drawn right", run, CURVES, percent, 1);
  const losses = chart("Losses, mean since the moment before", run, LOSSES, (v) => v.toFixed(1));

  function show(i) {
    const moment = run.moments[i];
    figures.forEach(({ canvas, caption }, k) => {
      const context = canvas.getContext("2d");
      context.drawImage(sheet, SIDE * k, SIDE * i, SIDE, SIDE, 0, 0, SIDE, SIDE);
      canvas.setAttribute("aria-label", `What G draws for “${caption}” after ${moment.step} steps`);
    });
    right.mark(i);
    losses.mark(i);
    const text = `step ${moment.step} of ${run.steps}, ${moment.seconds.toFixed(0)} s of training`;
    now.textContent = text;
    slider.setAttribute("aria-valuetext", `${text}, ${percent(moment.seen)} of seen captions right`);
    root.dataset.moment = String(i);
  }

  let timer = 0;
  const play = button("Play", () => {
    if (timer) return stop();
    if (slider.valueAsNumber === last) slider.value = 0;
    timer = setInterval(() => {
      slider.value = slider.valueAsNumber + 1;
      show(slider.valueAsNumber);
      if (slider.valueAsNumber === last) stop();
    }, 250);
    play.textContent = "Stop";
  });
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }
  slider.addEventListener("input", () => {
    stop();
    show(slider.valueAsNumber);
  });
  root.append(
    field("Time", slider, play),
    make("p", { class: "live-note" }, now),
    make("div", { class: "live-row" }, ...figures.map((f) => f.figure)),
    right.root,
    losses.root,
    make("p", { class: "live-note" }, `Trained on ${run.machine.cpu}, one thread. Accuracy is measured by a network that no loss saw.`),
  );
  show(0);
  say("");
});
