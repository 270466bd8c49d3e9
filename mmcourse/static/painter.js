// The page of MaskPainter (mmcourse/painter.py): a picture to paint a hole on, and the fills.
// What is shared with Python: history (packed masks, the last one counts), prompt, request; Python sends the rest.

const SIDE = 320; // about how wide the picture is drawn, in CSS pixels
const LIMIT = 100; // masks kept for undo, as in painter.py
const SLOW = 4000; // milliseconds after which a missing answer is explained

const WAITING = "Filling.";
const STILL_WAITING =
  "Still filling. Where another cell runs, the painter waits for it; after a restart of the kernel, run this cell again.";

/** Base64 of bits, first pixel first, to an array of 0 and 1. */
function unpack(text, count) {
  const bytes = atob(text);
  const bits = new Uint8Array(count);
  for (let i = 0; i < count; i++) bits[i] = (bytes.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
  return bits;
}

function pack(bits) {
  const bytes = new Uint8Array((bits.length + 7) >> 3);
  for (let i = 0; i < bits.length; i++) if (bits[i]) bytes[i >> 3] |= 128 >> (i & 7);
  return btoa(String.fromCharCode(...bytes));
}

/** An element with attributes and children; texts are never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

let pages = 0;

function render({ model, el }) {
  const width = model.get("width");
  const height = model.get("height");
  const count = width * height;
  const scale = Math.max(1, Math.floor(SIDE / Math.max(width, height)));
  const id = `mmcourse-painter-${++pages}`;

  // ------------------------------------------------------------------------------------------ the page

  const canvas = make("canvas", {
    tabindex: "0",
    role: "application",
    "aria-label": `Picture of ${width} by ${height} pixels. Paint the hole here.`,
    "aria-describedby": `${id}-help`,
    width: width * scale,
    height: height * scale,
  });
  const help = make("p", { id: `${id}-help`, class: "mmcourse-painter-help" });
  help.textContent =
    "Paint with mouse, pen or finger. Keys on the picture: arrows move the brush (with Shift four pixels), " +
    "Space paints, Backspace or Ctrl+Z undoes, Enter fills.";
  const readout = make("span", { class: "mmcourse-painter-readout" });
  const largest = Math.max(2, Math.floor(Math.max(width, height) / 2));
  const brush = make("input", { type: "range", id: `${id}-brush`, min: 1, max: largest, step: 1 });
  brush.value = Math.max(1, Math.round(Math.max(width, height) / 6));
  const brushSize = make("output", { for: `${id}-brush` });
  const undoButton = make("button", { type: "button", title: "Take back the last stroke" }, "Undo");
  const clearButton = make("button", { type: "button", title: "Close the whole hole" }, "Clear");
  const fillButton = make(
    "button",
    { type: "button", class: "mmcourse-panel-main", title: "Fill the hole" },
    "Fill",
  );
  const otherButton = make("button", { type: "button", title: "Fill the hole from new noise" }, "Other noise");
  const prompt = make("input", {
    type: "text",
    id: `${id}-prompt`,
    placeholder: "a small red circle",
    title: "What the hole shall show. Enter fills; an empty sentence says nothing",
    autocomplete: "off",
    spellcheck: "false",
  });
  const status = make("div", { role: "status" });
  const alert = make("div", { role: "alert" });
  const fills = make("div", { class: "mmcourse-painter-fills", role: "group", "aria-label": "Fills" });

  const sentence = make("div", { class: "mmcourse-panel-row" });
  if (model.get("text")) sentence.append(make("label", { for: `${id}-prompt` }, "Sentence"), prompt);
  sentence.append(fillButton, otherButton);
  const left = make(
    "div",
    { class: "mmcourse-painter-left" },
    canvas,
    make(
      "div",
      { class: "mmcourse-panel-row" },
      make("label", { for: `${id}-brush` }, "Brush"),
      brush,
      brushSize,
      undoButton,
      clearButton,
    ),
    readout,
  );
  left.style.width = `${width * scale}px`;
  const root = make(
    "div",
    { class: "mmcourse-panel mmcourse-painter", "data-lm-suppress-shortcuts": "true" }, // else JupyterLab takes the keys
    make("div", { class: "mmcourse-painter-boards" }, left, fills),
    sentence,
    status,
    alert,
    help,
  );
  el.append(root);

  // ------------------------------------------------------------------------------------------ drawing

  const picture = document.createElement("canvas");
  picture.width = width;
  picture.height = height;
  {
    const sent = model.get("picture"); // a DataView on RGB bytes
    const rgb = new Uint8Array(sent.buffer, sent.byteOffset, sent.byteLength);
    const rgba = new Uint8ClampedArray(4 * count).fill(255);
    for (let i = 0; i < count; i++) rgba.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
    picture.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  }
  const check = document.createElement("canvas"); // four squares a pixel: nothing is here
  check.width = check.height = scale;
  {
    const paint = check.getContext("2d");
    const half = Math.max(1, Math.round(scale / 2));
    paint.fillStyle = "#ffffff";
    paint.fillRect(0, 0, scale, scale);
    paint.fillStyle = "#9a9a9a";
    paint.fillRect(0, 0, half, half);
    paint.fillRect(half, half, scale - half, scale - half);
  }
  const context = canvas.getContext("2d");
  const pattern = context.createPattern(check, "repeat");

  let mask = new Uint8Array(count); // what is agreed with Python
  let stroke = null; // what the brush covers, until it is lifted
  let last = null; // where the brush was, in pixels
  let pointer = null; // the id of the pointer that paints
  let cursor = { x: Math.floor(width / 2) + 0.5, y: Math.floor(height / 2) + 0.5 };
  let hovered = false;
  let due = 0;

  const isHole = (x, y) =>
    x >= 0 && y >= 0 && x < width && y < height && (mask[y * width + x] || (stroke && stroke[y * width + x]));

  function draw() {
    due = 0;
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const edge = new Path2D();
    context.fillStyle = pattern;
    let holes = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (!isHole(x, y)) continue;
        holes++;
        const [l, t, r, b] = [x * scale, y * scale, (x + 1) * scale, (y + 1) * scale];
        context.fillRect(l, t, scale, scale);
        if (!isHole(x - 1, y)) edge.moveTo(l, t), edge.lineTo(l, b);
        if (!isHole(x + 1, y)) edge.moveTo(r, t), edge.lineTo(r, b);
        if (!isHole(x, y - 1)) edge.moveTo(l, t), edge.lineTo(r, t);
        if (!isHole(x, y + 1)) edge.moveTo(l, b), edge.lineTo(r, b);
      }
    }
    twice(edge, 4, 1.5);
    if (hovered || document.activeElement === canvas || pointer !== null) {
      const ring = new Path2D();
      ring.arc(cursor.x * scale, cursor.y * scale, Math.max(3, (brush.valueAsNumber / 2) * scale), 0, 2 * Math.PI);
      twice(ring, 4, 2);
    }
    const [column, row] = [Math.floor(cursor.x) + 1, Math.floor(cursor.y) + 1];
    readout.textContent = `Hole: ${holes} of ${count} pixels.\nBrush at column ${column}, row ${row}.`;
  }

  /** A dark line with a light one inside, to be seen on any colour. */
  function twice(path, wide, narrow) {
    context.lineCap = "square";
    context.strokeStyle = "#000000";
    context.lineWidth = wide;
    context.stroke(path);
    context.strokeStyle = "#ffffff";
    context.lineWidth = narrow;
    context.stroke(path);
  }

  function redraw() {
    if (!due) due = requestAnimationFrame(draw);
  }

  // ------------------------------------------------------------------------------------------ painting

  /** Cover the pixels whose centre is within the brush of the line from a to b, and the pixel at b. */
  function cover(a, b) {
    const radius = brush.valueAsNumber / 2 + 1e-6;
    const [dx, dy] = [b.x - a.x, b.y - a.y];
    const length = Math.max(dx * dx + dy * dy, 1e-9);
    const range = (p, q, size) => [
      Math.max(0, Math.floor(Math.min(p, q) - radius)),
      Math.min(size - 1, Math.floor(Math.max(p, q) + radius)),
    ];
    const [left, right] = range(a.x, b.x, width);
    const [top, bottom] = range(a.y, b.y, height);
    for (let y = top; y <= bottom; y++) {
      for (let x = left; x <= right; x++) {
        const [px, py] = [x + 0.5 - a.x, y + 0.5 - a.y];
        const along = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
        if (Math.hypot(px - along * dx, py - along * dy) <= radius) stroke[y * width + x] = 1;
      }
    }
    const [x, y] = [Math.floor(b.x), Math.floor(b.y)];
    if (x >= 0 && y >= 0 && x < width && y < height) stroke[y * width + x] = 1;
  }

  function begin(at) {
    stroke = new Uint8Array(count);
    moveTo(at);
  }

  function moveTo(at) {
    cursor = { x: clamp(at.x, width), y: clamp(at.y, height) };
    if (stroke) {
      cover(last ?? at, at);
      last = at;
    }
    redraw();
  }

  function end() {
    if (!stroke) return;
    const after = mask.map((v, i) => v | stroke[i]);
    const changed = after.some((v, i) => v !== mask[i]);
    stroke = last = pointer = null;
    if (changed) keep(after);
    redraw();
  }

  const clamp = (value, size) => Math.min(size - 0.01, Math.max(0, value));

  function keep(after) {
    model.set("history", [...model.get("history").slice(1 - LIMIT), pack(after)]);
    model.save_changes();
    alert.textContent = "";
  }

  function undo() {
    const history = model.get("history");
    if (history.length < 2) return say("There is nothing to undo.");
    model.set("history", history.slice(0, -1));
    model.save_changes();
    say("The last change of the hole is undone.");
  }

  function clear() {
    if (!mask.some(Boolean)) return say("The hole is empty already.");
    keep(new Uint8Array(count));
    say("The hole is closed. Undo brings it back.");
  }

  function here(event) {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * width,
      y: ((event.clientY - box.top) / box.height) * height,
    };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0 || stroke) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointer = event.pointerId;
    begin(here(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pointer !== null && event.pointerId !== pointer) return;
    const events = pointer !== null && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of events.length ? events : [event]) if (pointer !== null || !stroke) moveTo(here(one));
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(name, (event) => event.pointerId === pointer && end());
  }
  canvas.addEventListener("pointerenter", () => ((hovered = true), redraw()));
  canvas.addEventListener("pointerleave", () => ((hovered = false), redraw()));
  canvas.addEventListener("contextmenu", (event) => stroke && event.preventDefault());

  // ------------------------------------------------------------------------------------------ keys

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function key(event) {
    const control = event.ctrlKey || event.metaKey;
    if (event.key in ARROWS && !control && !event.altKey) {
      const [dx, dy] = ARROWS[event.key];
      const step = event.shiftKey ? 4 : 1;
      const go = (value, by, size) => Math.min(size - 1, Math.max(0, Math.floor(value) + by)) + 0.5;
      if (pointer === null) moveTo({ x: go(cursor.x, dx * step, width), y: go(cursor.y, dy * step, height) });
    } else if (event.key === " " && !control) {
      if (!event.repeat && !stroke) {
        begin({ x: Math.floor(cursor.x) + 0.5, y: Math.floor(cursor.y) + 0.5 }); // held, the arrows paint on
      }
    } else if (event.key === "Backspace" || (control && !event.shiftKey && event.key.toLowerCase() === "z")) {
      if (!stroke) undo();
    } else if (event.key === "Enter") {
      press(false);
    } else {
      return;
    }
    event.preventDefault();
  }

  canvas.addEventListener("keydown", key);
  canvas.addEventListener("keyup", (event) => event.key === " " && pointer === null && end());
  canvas.addEventListener("focus", redraw);
  canvas.addEventListener("blur", () => (pointer === null && end(), redraw()));
  root.addEventListener("keydown", (event) => event.stopPropagation());

  // ------------------------------------------------------------------------------------------ filling

  let timer = 0;
  const waits = () => model.get("request").n !== model.get("answered");

  function press(other) {
    if (stroke) end();
    model.set("prompt", prompt.value);
    model.set("request", { n: model.get("request").n + 1, other });
    model.save_changes();
    wait();
  }

  function wait() {
    fills.setAttribute("aria-busy", "true");
    say(WAITING);
    clearTimeout(timer);
    timer = setTimeout(() => waits() && say(STILL_WAITING), SLOW);
  }

  fillButton.addEventListener("click", () => press(false));
  otherButton.addEventListener("click", () => press(true));
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", clear);
  brush.addEventListener("input", showBrush);
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return; // Enter may end a Chinese word
    event.preventDefault();
    press(false);
  });
  prompt.addEventListener("change", () => {
    model.set("prompt", prompt.value);
    model.save_changes();
  });

  // ------------------------------------------------------------------------------------------ what Python sends

  function say(words) {
    status.textContent = words;
    alert.textContent = "";
  }

  function showMask() {
    mask = unpack(model.get("history").at(-1), count);
    redraw();
  }

  function showPrompt() {
    if (prompt.value !== model.get("prompt")) prompt.value = model.get("prompt");
  }

  function showBrush() {
    const size = brush.valueAsNumber;
    brushSize.textContent = size;
    brush.setAttribute("aria-valuetext", size === 1 ? "1 pixel" : `${size} pixels`);
    redraw();
  }

  function showMessage() {
    if (waits()) return;
    clearTimeout(timer);
    fills.setAttribute("aria-busy", "false");
    const failed = model.get("failed");
    status.textContent = failed ? "" : model.get("message");
    alert.textContent = failed ? model.get("message") : "";
  }

  function showFills() {
    const images = model.get("fills");
    const columns = Math.ceil(Math.sqrt(model.get("count")));
    const times = Math.max(1, Math.round(SIDE / columns / Math.max(width, height)));
    fills.style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${width * times}px))`;
    const size = { width: width * times, height: height * times };
    fills.replaceChildren(
      ...Array.from({ length: model.get("count") }, (_, i) =>
        images[i]
          ? make("img", { src: `data:image/png;base64,${images[i]}`, alt: model.get("words")[i], ...size })
          : empty(size),
      ),
    );
  }

  function empty(size) {
    const frame = make("div", { class: "mmcourse-painter-empty" });
    frame.style.aspectRatio = `${size.width} / ${size.height}`;
    return frame;
  }

  const shown = [
    ["change:history", showMask],
    ["change:prompt", showPrompt],
    ["change:message", showMessage],
    ["change:failed", showMessage],
    ["change:answered", showMessage],
    ["change:request", showMessage],
    ["change:fills", showFills],
  ];
  for (const [name, show] of shown) model.on(name, show);
  showMask();
  showPrompt();
  showBrush();
  showMessage();
  showFills();

  return () => {
    clearTimeout(timer);
    cancelAnimationFrame(due);
    for (const [name, show] of shown) model.off(name, show);
  };
}

export default { render };
