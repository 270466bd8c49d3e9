// A stand-in for the kernel: what a widget of the lessons shares with Python, kept in this page. The widgets' own
// pages (painter.js, listener.js) run on it as they are.

/** State with change events, as an anywidget model has them. `saved(keys)` hears of what the widget has set. */
export class PageModel {
  #state;
  #handlers = new Map();
  #touched = new Set();

  constructor(state, { saved = () => {}, sent = () => {} } = {}) {
    this.#state = { ...state };
    this.saved = saved;
    this.sent = sent;
  }

  get(name) {
    return this.#state[name];
  }

  set(name, value) {
    if (this.#state[name] === value) return;
    this.#state[name] = value;
    this.#touched.add(name);
    for (const handler of [...(this.#handlers.get(`change:${name}`) ?? [])]) handler();
  }

  /** Many values at once, in order, as the kernel would set them: the widget's own hooks do not hear of it. */
  put(values) {
    for (const [name, value] of Object.entries(values)) this.set(name, value);
    this.#touched.clear();
  }

  save_changes() {
    const keys = [...this.#touched];
    this.#touched.clear();
    if (keys.length) this.saved(keys);
  }

  send(content, _callbacks, buffers = []) {
    this.sent(content, buffers);
  }

  on(event, handler) {
    if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
    this.#handlers.get(event).add(handler);
  }

  off(event, handler) {
    this.#handlers.get(event)?.delete(handler);
  }
}

/** A picture of pictures (n, 3, 32, 32) in [-1, 1] as a PNG file in base64. */
export async function png(paint, pictures, row) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  paint(canvas, pictures, row);
  return canvas.toDataURL("image/png").split(",")[1];
}
