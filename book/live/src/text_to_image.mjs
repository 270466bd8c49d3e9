// The page "text to image": a sentence, a noise, six more noises, and one word exchanged.

import { normal, slerp } from "./noise.mjs";
import { button, field, loading, make, milliseconds, newest, owner, picture, start } from "./page.mjs";
import { draw, encode, json, load, paint, repeat, WIDTH } from "./run.mjs";
import { exchanged, phrases } from "./words.mjs";

const EXAMPLES = [
  "a small red circle",
  "a large blue star at the top",
  "a green square left of a large purple ring",
  "一个大的绿色的三角形",
  "红色的十字在黄色的正方形上面",
  "a yellow circle below a black triangle",
];
const Z = 16;
const OTHERS = 6;
const NEEDED = ["text", "text2image"];

start(async (root, say) => {
  let seed = 1;
  const prompt = make("input", { type: "text", autocomplete: "off", spellcheck: "false", value: EXAMPLES[2] });
  const slider = make("input", { type: "range", min: 0, max: 100, value: 0 });
  const main = picture("live-large");
  const others = Array.from({ length: OTHERS }, () => picture("live-small"));
  const examples = make("div", { class: "live-row", role: "group", "aria-label": "Examples" });
  const words = make("div", { class: "live-row", role: "group", "aria-label": "Words that can be exchanged" });
  const strip = make("div", { class: "live-row live-strip" });
  const whose = make("p", { class: "live-note" });
  for (const text of EXAMPLES) {
    const attributes = /[㐀-鿿]/.test(text) ? { lang: "zh" } : {};
    examples.append(button(text, () => ask(text), attributes));
  }
  root.append(
    make(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          answer();
        },
      },
      field("Sentence", prompt, make("button", { type: "submit", class: "live-main" }, "Draw")),
    ),
    examples,
    make(
      "div",
      { class: "live-boards" },
      make(
        "div",
        {},
        main.figure,
        field("Noise", slider),
        button("New noise", () => {
          seed += 100;
          slider.value = 0;
          answer();
        }),
      ),
      make(
        "section",
        { "aria-label": "The same sentence, other noise" },
        make("h3", {}, "The same sentence, other noise"),
        make("div", { class: "live-row" }, ...others.map((p) => p.figure)),
      ),
    ),
    make("h3", {}, "One word exchanged, the same noise"),
    words,
    strip,
    whose,
  );

  const [table, groups, models] = await Promise.all([
    json("models/vocabulary.json"),
    json("models/swaps.json"),
    load(NEEDED, loading(say)),
  ]);
  whose.textContent = owner(models.about, NEEDED);
  let chosen = 0; // which of the sentence's phrases is exchanged

  function ask(text) {
    prompt.value = text;
    answer();
  }

  const answer = newest(async () => {
    const sentence = prompt.value.trim();
    const began = performance.now();
    const z = slerp(normal(Z, seed), normal(Z, seed + 1), slider.value / 100);
    const vector = await encode(models, table, [sentence]);
    paint(main.canvas, await draw(models, vector, z));
    main.describe(`Drawn for: ${sentence}`, sentence);
    main.canvas.dataset.prompt = sentence;
    main.canvas.dataset.ms = String(performance.now() - began);
    say(`Drawn in ${milliseconds(began)}.`);
    await new Promise((resolve) => setTimeout(resolve)); // the picture is shown before the others are drawn
    const noises = new Float32Array(OTHERS * Z);
    for (let i = 0; i < OTHERS; i++) noises.set(normal(Z, seed + 2 + i), i * Z);
    const drawn = await draw(models, repeat(vector, OTHERS), noises);
    others.forEach((p, i) => {
      paint(p.canvas, drawn, i);
      p.describe(`Drawn for: ${sentence}, other noise ${i + 1}`, "");
    });
    await swap(sentence, z);
  }, say);

  async function swap(sentence, z) {
    const found = phrases(groups, sentence);
    chosen = Math.min(chosen, Math.max(0, found.length - 1));
    if (!found.length) {
      words.replaceChildren(make("p", {}, "This sentence has no word that can be exchanged."));
      strip.replaceChildren();
      return;
    }
    const focused = words.contains(document.activeElement);
    words.replaceChildren(
      ...found.map((phrase, i) =>
        button(
          phrase.text,
          () => {
            chosen = i;
            answer();
          },
          { "aria-pressed": String(i === chosen), lang: phrase.group.language },
        ),
      ),
    );
    if (focused) words.children[chosen].focus();
    const variants = exchanged(sentence, found[chosen]);
    const vectors = await encode(models, table, variants.map((v) => v.text));
    const drawn = await draw(models, vectors, repeat(z, vectors.length / WIDTH));
    strip.replaceChildren(
      ...variants.map((v, i) => {
        const p = picture("live-small");
        p.describe(`Drawn for: ${v.text}`, v.choice);
        p.figure.lang = found[chosen].group.language;
        p.canvas.dataset.prompt = v.text;
        paint(p.canvas, drawn, i);
        return p.figure;
      }),
    );
  }

  let typed = 0;
  prompt.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(answer, 150);
  });
  slider.addEventListener("input", () => answer());
  await answer();
});
