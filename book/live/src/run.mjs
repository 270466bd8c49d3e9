// Runs the book's ONNX models by onnxruntime-web, with everything served from beside this page.

import * as ort from "../vendor/ort.wasm.bundle.min.mjs";
import { ids } from "./words.mjs";

const HERE = new URL("../", import.meta.url); // assets/
export const SIDE = 32; // pixels of a picture
export const WIDTH = 64; // numbers of a vector of the shared space

/** Fetch a file of assets/ as bytes; `count` is told of bytes as they come. Throws with a sentence for the reader. */
async function bytes(path, count = () => {}) {
  let answer;
  try {
    answer = await fetch(new URL(path, HERE));
  } catch {
    throw new Error(`The file ${path} could not be fetched. Is the server that sent this page still running? Reload the page.`);
  }
  if (!answer.ok) throw new Error(`The file ${path} is not there (${answer.status}). Build the book again with make book.`);
  const parts = [];
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    count(value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** What was packed by gzip, unpacked. A server that unpacks such files by itself is fine too. */
async function unpacked(data) {
  if (data[0] !== 0x1f || data[1] !== 0x8b) return data;
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A JSON file of assets/. */
export async function json(path) {
  return JSON.parse(new TextDecoder().decode(await bytes(path)));
}

/**
 * The models of these names, ready to run. `tell(loaded, whole)` hears of bytes.
 * Gives {run(name, feeds), about}: feeds are [array, shape] by input; the answer is an array. `about` is models.json.
 */
export async function load(names, tell = () => {}) {
  const about = (await json("models/models.json")).models;
  const wasm = "vendor/ort-wasm-simd-threaded.wasm.gz";
  const whole = names.reduce((sum, name) => sum + about[name].bytes, 3.7e6);
  let loaded = 0;
  const count = (n) => tell((loaded += n), whole);
  const [runtime, ...models] = await Promise.all([
    bytes(wasm, count).then(unpacked),
    ...names.map((name) => bytes(`models/${name}.onnx`, count)),
  ]);
  ort.env.wasm.numThreads = 1; // more would need headers that a static host does not send
  ort.env.wasm.wasmBinary = runtime.buffer;
  ort.env.logLevel = "error";
  const sessions = {};
  for (const [i, name] of names.entries()) {
    sessions[name] = await ort.InferenceSession.create(models[i], { executionProviders: ["wasm"] });
  }
  async function run(name, feeds) {
    const session = sessions[name];
    const given = {};
    for (const [key, [data, shape]] of Object.entries(feeds)) {
      given[key] = new ort.Tensor(data instanceof BigInt64Array ? "int64" : "float32", data, shape);
    }
    const found = await session.run(given);
    return found[session.outputNames[0]].data;
  }
  return { run, about };
}

/** The vectors (n, 64) of n sentences, by the text tower. Throws a WordError of the first that cannot be read. */
export async function encode(models, table, sentences) {
  const rows = sentences.map((sentence) => ids(table, sentence));
  const longest = Math.max(...rows.map((row) => row.length));
  const padded = new BigInt64Array(rows.length * longest); // 0 is padding
  rows.forEach((row, i) => row.forEach((id, j) => (padded[i * longest + j] = BigInt(id))));
  return models.run("text", { ids: [padded, [rows.length, longest]] });
}

/** Pictures (n, 3, 32, 32) in [-1, 1] for n vectors and n noises. */
export function draw(models, vectors, noises) {
  const n = vectors.length / WIDTH;
  return models.run("text2image", { z: [noises, [n, noises.length / n]], cond: [vectors, [n, WIDTH]] });
}

/** One vector n times over. */
export function repeat(vector, n) {
  const out = new Float32Array(n * vector.length);
  for (let i = 0; i < n; i++) out.set(vector, i * vector.length);
  return out;
}

/** Put picture number `row` of pictures (n, 3, 32, 32) in [-1, 1] onto a canvas of 32 by 32 pixels. */
export function paint(canvas, pictures, row = 0) {
  const area = SIDE * SIDE;
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = Math.round((pictures[(3 * row + c) * area + i] + 1) * 127.5);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
