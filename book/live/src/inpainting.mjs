// The page "a hole, a brush and a sentence": the painter of lessons 10 and 11, answered by the model on this page.

import painter from "./painter.js";
import { PageModel, png } from "./kernel.mjs";
import { normal } from "./noise.mjs";
import { button, fromBase64, loading, make, newest, owner, picture, start } from "./page.mjs";
import { encode, json, load, paint, repeat, SIDE, WIDTH } from "./run.mjs";

const COUNT = 4;
const Z = 8;
const AREA = SIDE * SIDE;
const NEEDED = ["text", "inpainting_text"];
const FIRST = "a large green star";

const pack = (bits) => {
  const out = new Uint8Array(AREA >> 3);
  bits.forEach((bit, i) => bit && (out[i >> 3] |= 128 >> (i & 7)));
  return btoa(String.fromCharCode(...out));
};
const unpack = (text) => {
  const bytes = fromBase64(text);
  return Float32Array.from({ length: AREA }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
};

const holes = (text) => unpack(text).some(Boolean);

/** RGB bytes, pixel by pixel, to (3, 32, 32) in [-1, 1]. */
function planes(rgb) {
  const out = new Float32Array(3 * AREA);
  for (let i = 0; i < AREA; i++) for (let c = 0; c < 3; c++) out[c * AREA + i] = rgb[3 * i + c] / 127.5 - 1;
  return out;
}

start(async (root, say) => {
  const chooser = make("div", { class: "live-row", role: "group", "aria-label": "Pictures to repair" });
  const board = make("div", {});
  const whose = make("p", { class: "live-note" });
  root.append(make("h3", {}, "A picture"), chooser, make("h3", {}, "A hole, and what shall stand there"), board, whose);
  const [table, scenes, models] = await Promise.all([
    json("models/vocabulary.json"),
    json("models/scenes.json"),
    load(NEEDED, loading(say)),
  ]);
  whose.textContent = owner(models.about, NEEDED);
  say("");
  let leave = () => {};
  let seed = 1;

  function show(number, prompt) {
    leave();
    board.replaceChildren();
    [...chooser.children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === number)));
    const scene = scenes[number];
    const rgb = fromBase64(scene.rgb);
    const known = planes(rgb);
    const thing = pack(fromBase64(scene.hole));
    const model = new PageModel(
      {
        height: SIDE,
        width: SIDE,
        picture: new DataView(rgb.buffer),
        text: true,
        count: COUNT,
        history: [pack(new Uint8Array(AREA)), thing],
        prompt,
        request: { n: 0, other: false },
        answered: 0,
        fills: [],
        words: [],
        message: "",
        failed: false,
      },
      {
        saved: (keys) => {
          if (keys.includes("request") || (keys.includes("history") && holes(model.get("history").at(-1)))) ask();
        },
      },
    );

    const fill = newest(
      async (request, hole, sentence) => {
        const began = performance.now();
        if (request.other) seed += 1;
        const bits = unpack(hole);
        const pixels = bits.reduce((sum, bit) => sum + bit, 0);
        if (!holes(hole)) {
          const message = "The hole is empty. Paint one first.";
          return model.put({ failed: true, message, answered: model.get("request").n });
        }
        try {
          const text = sentence.trim() ? await encode(models, table, [sentence]) : new Float32Array(WIDTH);
          const found = await models.run("inpainting_text", {
            z: [normal(COUNT * Z, seed), [COUNT, Z]],
            picture: [repeat(known, COUNT), [COUNT, 3, SIDE, SIDE]],
            mask: [repeat(bits, COUNT), [COUNT, 1, SIDE, SIDE]],
            text: [repeat(text, COUNT), [COUNT, WIDTH]],
          });
          const took = Math.round(performance.now() - began);
          const asked = sentence.trim() ? ` for “${sentence.trim()}”` : " without a sentence";
          const fills = await Promise.all(Array.from({ length: COUNT }, (_, i) => png(paint, found, i)));
          board.dataset.ms = String(took);
          board.dataset.prompt = sentence.trim();
          model.put({
            words: fills.map((_, i) => `Fill ${i + 1} of ${COUNT}${asked}`),
            fills,
            failed: false,
            message: `${COUNT} fills${asked}, ${pixels} pixels of hole, in ${took} ms.`,
            answered: model.get("request").n,
          });
        } catch (error) {
          model.put({ failed: true, message: error.message, answered: model.get("request").n });
        }
      },
      (message) => model.put({ failed: true, message }),
    );
    const ask = () => fill(model.get("request"), model.get("history").at(-1), model.get("prompt"));

    leave = painter.render({ model, el: board });
    board.append(
      make(
        "div",
        { class: "live-row" },
        button(`Hide the ${scene.thing.replace(/^an? /, "")}`, () => {
          model.set("history", [...model.get("history"), thing]);
          model.save_changes();
        }),
      ),
    );
    return ask();
  }

  chooser.append(
    ...scenes.map((scene, i) => {
      const shown = picture("live-small");
      paint(shown.canvas, planes(fromBase64(scene.rgb)));
      shown.canvas.setAttribute("aria-hidden", "true");
      shown.canvas.removeAttribute("role");
      shown.canvas.removeAttribute("aria-label");
      const made = button("", () => show(i, board.querySelector("input[type=text]")?.value ?? FIRST), {
        "aria-label": `Picture ${i + 1}: ${scene.caption}`,
        class: "live-choice",
      });
      made.append(shown.canvas);
      return made;
    }),
  );
  await show(0, FIRST);
});
