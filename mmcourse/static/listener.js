// The page of Listener (mmcourse/listener.py): ready sounds, a recording, a WAV file; and what the model drew from it.
// Each sound goes to Python as a message of its own with a number, asked; Python says in answered how far it is.

const SIDE = 128; // about how wide a picture is drawn, in CSS pixels
const READY = 1000; // milliseconds from the microphone's start to the recording's: time to draw breath
const LATE = 4000; // milliseconds after which missing samples, or a missing answer, are explained

const STILL_WAITING =
  "Still waiting. Where another cell runs, the listener waits for it; " +
  "after a restart of the kernel, run this cell again.";

// runs beside the page, on the audio thread: passes on what it hears, and plays nothing
const COLLECTOR = `
registerProcessor("mmcourse-collector", class extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input.map((channel) => channel.slice()));
    return true;
  }
});`;

/** An element with attributes and children; texts are never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Why nobody can record here, or "" where one can. */
function noMicrophone() {
  if (!window.isSecureContext) {
    return "Recording needs a page from localhost or over https, and this one is neither.";
  }
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
    return "This browser gives pages no microphone.";
  }
  return "";
}

/** What went wrong with the microphone, in words. */
function reason(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The microphone was refused. Allow it for this page in the browser's address bar, then press again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in, then press Record again.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone cannot be used now; another program may have it.";
    default:
      return `The recording failed (${error.message || error.name}).`;
  }
}

/** Samples of a microphone's stream: {data: Float32Array, one channel after the other, channels, rate}. */
async function collect(stream, seconds, context, tell) {
  const code = URL.createObjectURL(new Blob([COLLECTOR], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(code);
  } finally {
    URL.revokeObjectURL(code);
  }
  await context.resume();
  const node = new AudioWorkletNode(context, "mmcourse-collector");
  context.createMediaStreamSource(stream).connect(node).connect(context.destination);
  const wanted = Math.round(seconds * context.sampleRate);
  const begin = performance.now() + READY;
  const blocks = [];
  let got = 0;
  let timer = 0;
  try {
    await new Promise((done, fail) => {
      timer = setTimeout(() => fail(new Error("no samples came")), READY + 1000 * seconds + LATE);
      stream.getAudioTracks()[0].onended = () => fail(new Error("the microphone was taken away"));
      node.port.onmessage = ({ data }) => {
        if (performance.now() < begin || got >= wanted) return;
        blocks.push(data);
        got += data[0].length;
        tell(Math.min(1, got / wanted));
        if (got >= wanted) done();
      };
    });
  } finally {
    clearTimeout(timer);
    node.port.onmessage = null;
    node.disconnect();
  }
  const channels = Math.min(2, Math.max(...blocks.map((block) => block.length)));
  const data = new Float32Array(channels * wanted);
  for (let channel = 0; channel < channels; channel++) {
    let at = 0;
    for (const block of blocks) {
      const part = block[Math.min(channel, block.length - 1)].subarray(0, wanted - at);
      data.set(part, channel * wanted + at);
      at += part.length;
    }
  }
  return { data, channels, rate: context.sampleRate };
}

const megabytes = (bytes) => Number((bytes / 2 ** 20).toFixed(1));

let pages = 0;

function render({ model, el }) {
  const id = `mmcourse-listener-${++pages}`;
  const seconds = model.get("seconds");
  const largest = model.get("largest");

  // ------------------------------------------------------------------------------------------ the page

  const button = (words, title, press) => {
    const made = make("button", { type: "button", title }, words);
    made.addEventListener("click", press);
    return made;
  };
  const recordButton = button(`Record ${Number(seconds.toFixed(2))} s`, "Record a sound with the microphone", record);
  recordButton.classList.add("mmcourse-panel-main");
  recordButton.setAttribute("aria-describedby", `${id}-why`);
  const why = make("span", { id: `${id}-why`, class: "mmcourse-listener-why" });
  const accept = model.get("accept") ?? ".wav,audio/wav,audio/x-wav";
  const input = make("input", { type: "file", accept, hidden: "" });
  input.addEventListener("change", () => {
    const file = input.files[0];
    input.value = ""; // or the same file could not be taken twice
    if (file) takeFile(file);
  });
  const kind = model.get("files") ?? "WAV file"; // a page that decodes by itself takes others too
  const fileButton = button(`${kind} …`, `Take a sound from a ${kind}`, () => input.click());

  const bar = make("progress", { max: "1", value: "0" });
  const barWords = make("span");
  // told by sight alone: a screen reader's voice would be recorded
  const meter = make("div", { class: "mmcourse-panel-row", "aria-hidden": "true", hidden: "" }, bar, barWords);

  const names = model.get("names");
  const ready = make("div", {
    class: "mmcourse-panel-row",
    role: "group",
    "aria-labelledby": `${id}-ready`,
  });
  ready.append(make("span", { id: `${id}-ready` }, "Ready sounds"));
  for (const name of names) ready.append(button(name, `Hear: ${name}`, () => ask({ kind: "ready", name })));

  const status = make("div", { role: "status" });
  const alert = make("div", { role: "alert" });
  const player = make("audio", { controls: "", "aria-label": "What was heard", preload: "auto" });
  const spectrogram = make("img", { class: "mmcourse-listener-mel" });
  const heard = make("div", { class: "mmcourse-listener-heard" }, player, spectrogram);
  const pictures = make("div", { class: "mmcourse-listener-pictures", role: "group", "aria-label": "Pictures" });
  const results = make("div", { class: "mmcourse-listener-results" }, heard, pictures);
  const help = make("p", { class: "mmcourse-listener-help" });
  help.textContent =
    `A recording starts one second after the press. Files of at most ${megabytes(largest)} MiB are taken. ` +
    (model.get("privacy") ??
      "Sounds go from this page to the kernel that runs this notebook, and nowhere else. The last one stays in this " +
        "widget; it is saved with the notebook only where JupyterLab is set to save the state of widgets.");

  const root = make(
    "div",
    { class: "mmcourse-panel mmcourse-listener", "data-lm-suppress-shortcuts": "true" }, // else JupyterLab takes the keys
    make("div", { class: "mmcourse-panel-row" }, recordButton, fileButton, input, why),
    meter,
    status,
    alert,
    results,
    help,
  );
  if (names.length) root.prepend(ready);
  root.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(root);

  // ------------------------------------------------------------------------------------------ sounds to Python

  let asked = Math.max(model.get("asked"), model.get("answered"));
  let timer = 0;
  const waits = () => asked > model.get("answered");

  function ask(what, data) {
    asked = Math.max(asked, model.get("asked"), model.get("answered")) + 1;
    model.set("asked", asked);
    model.save_changes();
    model.send({ ...what, n: asked }, undefined, data ? [data] : []);
    wait();
  }

  function wait() {
    const count = asked - model.get("answered");
    say(count === 1 ? "Listening." : `Listening to ${count} sounds, one after the other.`);
    results.setAttribute("aria-busy", "true");
    clearTimeout(timer);
    timer = setTimeout(() => waits() && say(STILL_WAITING), LATE);
  }

  async function takeFile(file) {
    if (file.size > largest) {
      const size = megabytes(file.size);
      return refuse(`“${file.name}” has ${size} MiB; at most ${megabytes(largest)} are taken. Cut it first.`);
    }
    try {
      ask({ kind: "file", name: file.name }, await file.arrayBuffer());
    } catch (error) {
      refuse(`“${file.name}” cannot be read (${error.message || error.name}).`);
    }
  }

  // ------------------------------------------------------------------------------------------ recording

  let recording = false;
  let gone = false; // this page was taken away
  let stop = () => {};

  async function record() {
    if (recording) return say("A recording is under way.");
    const missing = noMicrophone();
    if (missing) return refuse(`${missing} The file button works without a microphone.`);
    recording = true;
    say("Waiting for the microphone. Where the browser asks, allow it.");
    let stream = null;
    let context = null;
    stop = () => {
      for (const track of stream?.getTracks() ?? []) track.stop();
      if (context?.state !== "closed") context?.close();
      stream = context = null;
    };
    try {
      // as it is: no echo, noise or loudness taken out, which would cut tones and whistles
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: { ideal: 2 }, ...plain } });
      if (gone) return;
      context = new AudioContext();
      say(`The recording starts in one second and lasts ${Number(seconds.toFixed(2))} s.`);
      showMeter("Get ready.", 0);
      const tell = (share) => showMeter("Recording.", share);
      const { data, channels, rate } = await collect(stream, seconds, context, tell);
      if (!gone) ask({ kind: "recording", channels, rate }, data.buffer);
    } catch (error) {
      if (!gone) refuse(`${reason(error)} The file button works without a microphone.`);
    } finally {
      stop();
      meter.hidden = true;
      recording = false;
      if (!gone) showMessage();
    }
  }

  function showMeter(words, share) {
    meter.hidden = false;
    barWords.textContent = words;
    bar.value = share;
  }

  // ------------------------------------------------------------------------------------------ what Python sends

  let refused = ""; // why the newest sound never left this page

  function say(words) {
    refused = "";
    status.textContent = words;
    alert.textContent = "";
  }

  function refuse(words) {
    refused = `Not heard. ${words}`;
    showMessage();
  }

  function showMessage() {
    const failure = model.get("failed") ? model.get("message") : "";
    if (waits()) {
      const words = refused;
      wait();
      refused = words;
      alert.textContent = [refused, failure].join(" ").trim(); // of a sound before the one that is awaited
      return;
    }
    clearTimeout(timer);
    results.setAttribute("aria-busy", "false");
    alert.textContent = refused || failure;
    const message = failure ? "" : model.get("message");
    if (!recording && status.textContent !== message) status.textContent = message; // else its own words stand there
  }

  const urls = new Map();

  /** Show bytes from Python in an element, by an address of this page alone. */
  function put(element, name, type) {
    const bytes = model.get(name); // a DataView
    if (urls.has(element)) URL.revokeObjectURL(urls.get(element));
    urls.delete(element);
    if (!bytes?.byteLength) return;
    urls.set(element, URL.createObjectURL(new Blob([bytes], { type })));
    element.src = urls.get(element);
  }

  function showResults() {
    const data = model.get("pictures");
    results.hidden = !data.length;
    if (results.hidden) return;
    put(player, "sound", "audio/wav");
    put(spectrogram, "spectrogram", "image/png");
    spectrogram.alt = model.get("description");
    const [height, width] = model.get("size");
    const times = Math.max(1, Math.round(SIDE / Math.max(height, width)));
    const size = { width: width * times, height: height * times };
    const words = model.get("words");
    pictures.replaceChildren(
      ...data.map((image, i) => make("img", { src: `data:image/png;base64,${image}`, alt: words[i], ...size })),
    );
  }

  const shown = [
    ["change:shown", showResults],
    ["change:message", showMessage],
    ["change:failed", showMessage],
    ["change:answered", showMessage],
  ];
  for (const [name, show] of shown) model.on(name, show);
  showResults();
  showMessage();
  const missing = noMicrophone();
  if (missing) {
    why.textContent = missing;
    recordButton.setAttribute("aria-disabled", "true");
  }

  return () => {
    gone = true;
    clearTimeout(timer);
    stop();
    for (const url of urls.values()) URL.revokeObjectURL(url);
    for (const [name, show] of shown) model.off(name, show);
  };
}

export default { render };
