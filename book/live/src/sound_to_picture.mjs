// The page "sound to picture": the listener of lesson 12, answered by the models on this page.

import listener from "./listener.js";
import { PageModel, png } from "./kernel.mjs";
import { normal } from "./noise.mjs";
import { fromBase64, loading, make, owner, start } from "./page.mjs";
import { draw, json, load, paint, repeat } from "./run.mjs";
import { LENGTH, loudness, RATE, ready, wavBytes } from "./sound.mjs";

const COUNT = 6;
const Z = 16;
const [MELS, FRAMES] = [40, 64];
const NEEDED = ["mel", "hearing", "text2image"];
const QUIET = -50; // dB; below, a sound is called almost silent
const LARGEST = 8 * 2 ** 20;
const LONGEST = 60; // seconds of a file that are read

/** The samples of a sound file at 8000 a second, by channel. The browser decodes what it can play. */
async function decode(data, name) {
  let found;
  try {
    found = await new OfflineAudioContext(2, 1, RATE).decodeAudioData(data);
  } catch {
    throw new Error(`${name} is no sound file that this browser can read. Try WAV, MP3, Ogg or FLAC.`);
  }
  if (found.duration > LONGEST) {
    throw new Error(`${name} lasts ${Math.round(found.duration)} s; at most ${LONGEST} s are read. Cut it first.`);
  }
  return channelsOf(found);
}

const channelsOf = (buffer) => Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c));

/** A recording, one channel after the other, resampled to 8000 a second. */
async function resample(data, channels, rate) {
  const n = data.length / channels;
  const context = new OfflineAudioContext(channels, Math.ceil((n * RATE) / rate), RATE);
  const buffer = context.createBuffer(channels, n, rate);
  for (let c = 0; c < channels; c++) buffer.copyToChannel(data.subarray(c * n, (c + 1) * n), c);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return channelsOf(await context.startRendering());
}

/** The spectrogram of both channels, (2, 40, 64) in dB, as a PNG file: time to the right, pitch upwards. */
async function spectrogram(mel) {
  const [scale, left, top, gap] = [4, 56, 22, 34];
  const [width, height] = [FRAMES * scale, MELS * scale];
  const canvas = make("canvas", { width: left + width + 8, height: 2 * (top + height) + gap });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const peak = Math.max(...mel);
  ["left ear", "right ear"].forEach((name, c) => {
    const y0 = top + c * (height + top);
    for (let m = 0; m < MELS; m++) {
      for (let t = 0; t < FRAMES; t++) {
        const level = Math.max(0, Math.min(1, 1 - (peak - mel[(c * MELS + m) * FRAMES + t]) / 60));
        const grey = Math.round(255 * (1 - level));
        context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
        context.fillRect(left + t * scale, y0 + (MELS - 1 - m) * scale, scale, scale);
      }
    }
    context.strokeStyle = "#444444";
    context.strokeRect(left - 0.5, y0 - 0.5, width + 1, height + 1);
    context.fillStyle = "#000000";
    context.font = "12px sans-serif";
    context.textAlign = "left";
    context.fillText(name, left, y0 - 6);
    context.textAlign = "right";
    context.fillText("high", left - 6, y0 + 12);
    context.fillText("low", left - 6, y0 + height);
  });
  context.textAlign = "left";
  context.fillText("time →", left, canvas.height - 12);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  return new DataView(await blob.arrayBuffer());
}

start(async (root, say) => {
  const board = make("div", {});
  const said = make("p", {}, "Nothing was heard yet.");
  const whose = make("p", { class: "live-note" });
  root.append(board, make("details", {}, make("summary", {}, "What does the sound say?"), said), whose);
  const [sounds, models] = await Promise.all([json("models/sounds.json"), load(NEEDED, loading(say))]);
  whose.textContent = owner(models.about, NEEDED);
  say("");
  const names = sounds.map((_, i) => `Sound ${i + 1}`);
  let turn = Promise.resolve(); // sounds are heard one after the other
  let heard = "";

  const model = new PageModel(
    {
      names,
      seconds: LENGTH / RATE,
      largest: LARGEST,
      files: "sound file",
      accept: "audio/*",
      privacy: "Nothing leaves this page: what you record or choose is heard by the model here, and is not kept.",
      asked: 0,
      answered: 0,
      sound: null,
      spectrogram: null,
      description: "",
      size: [32, 32],
      pictures: [],
      words: [],
      shown: 0,
      message: "Take a ready sound, record one, or take a file.",
      failed: false,
    },
    { sent: (content, buffers) => (turn = turn.then(() => receive(content, buffers))) },
  );

  async function receive(content, buffers) {
    try {
      await hear(...(await waveOf(content, buffers)), content.n);
    } catch (error) {
      const kept = heard ? ` Shown is still ${heard}.` : "";
      model.put({ failed: true, message: `Not heard. ${error.message}${kept}`, answered: content.n });
    }
  }

  /** What was asked as a name, a wave by channel, and what it says ("" where nobody knows). */
  async function waveOf(content, buffers) {
    if (content.kind === "ready") {
      const sound = sounds[names.indexOf(content.name)];
      const wave = await decode(fromBase64(sound.wav).buffer, content.name);
      return [`“${content.name}”`, wave, `${sound.caption} · ${sound.caption_zh}`];
    }
    if (content.kind === "recording") {
      const wave = await resample(new Float32Array(buffers[0]), content.channels, content.rate);
      return ["the recording", wave, ""];
    }
    return [`“${content.name}”`, await decode(buffers[0], `“${content.name}”`), ""];
  }

  async function hear(name, channels, words, n) {
    const began = performance.now();
    const wave = ready(channels);
    const mel = await models.run("mel", { wave: [wave, [1, 2, LENGTH]] });
    const vector = await models.run("hearing", { spectra: [mel, [1, 2, MELS, FRAMES]] });
    const drawn = await draw(models, repeat(vector, COUNT), normal(COUNT * Z, 1));
    const took = Math.round(performance.now() - began);
    const loud = loudness(channels);
    const pictures = await Promise.all(Array.from({ length: COUNT }, (_, i) => png(paint, drawn, i)));
    const level = loud >= QUIET ? `loudness ${loud.toFixed(0)} dB` : `almost silent, ${loud.toFixed(0)} dB`;
    heard = name;
    said.textContent = words || "Nobody knows what this sound says: it is not one of the world's.";
    board.dataset.heard = name;
    board.dataset.ms = String(took);
    model.put({
      sound: wavBytes(wave),
      spectrogram: await spectrogram(mel),
      description: `Spectrogram of ${name}: loud pitches of both ears over 1.26 seconds. ${level}.`,
      pictures,
      words: pictures.map((_, i) => `Picture ${i + 1} of ${COUNT}, from ${name}`),
      failed: false,
      message: `Heard ${name}: ${level}. ${COUNT} pictures in ${took} ms.`,
      shown: model.get("shown") + 1,
      answered: n,
    });
    if (playing) board.querySelector("audio").play().catch(() => {}); // refused where nobody has pressed anything
    playing = true;
  }

  let playing = false; // not the first, which nobody asked for
  listener.render({ model, el: board });
  model.set("asked", 1);
  model.put({ asked: 1 });
  turn = receive({ kind: "ready", name: names[0], n: 1 }, []);
  await turn;
});
