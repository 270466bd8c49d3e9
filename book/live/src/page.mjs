// What the live pages share: elements, a line that says what happens, and the order of answers.

/** An element with attributes and children; texts are never read as HTML. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A picture of 32 by 32 pixels with a caption below it. `describe(text)` says to those who cannot see what it shows. */
export function picture(className, caption = "") {
  const canvas = make("canvas", { width: 32, height: 32, role: "img", "aria-label": "No picture yet" });
  const below = make("figcaption", {}, caption);
  const figure = make("figure", { class: `live-picture ${className}` }, canvas, below);
  const describe = (text, short = text) => {
    canvas.setAttribute("aria-label", text);
    below.textContent = short;
  };
  return { figure, canvas, describe };
}

let labels = 0;
/** A label and its control in one row. */
export function field(text, control, ...more) {
  control.id ||= `live-field-${++labels}`;
  return make("div", { class: "live-field" }, make("label", { for: control.id }, text), control, ...more);
}

export function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

/**
 * Build a page into the element with the id "live". `build(root, say)` fills it and may throw.
 * `say(text, isError)` writes to the line that screen readers read out.
 */
export async function start(build) {
  const root = document.getElementById("live");
  const line = make("p", { class: "live-status", role: "status" });
  const say = (text, isError = false) => {
    if (root.dataset.state === "failed") return; // what is still on its way changes nothing
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("live-error", isError);
  };
  const body = make("div", {});
  root.replaceChildren(body, line);
  root.dataset.state = "loading";
  say("Loading the model.");
  try {
    await build(body, say);
    root.dataset.state = "ready";
  } catch (error) {
    say(error.message, true);
    root.dataset.state = "failed";
    console.warn(error);
  }
}

export function loading(say) {
  return (loaded, whole) => say(`Loading the model: ${Math.min(100, Math.round((100 * loaded) / whole))} %.`);
}

/**
 * Runs one job at a time and forgets all but the newest that waits: what is asked while a picture is drawn is drawn
 * next, and nothing piles up behind a slider.
 */
export function newest(job, say) {
  let waiting = null;
  let busy = null;
  async function work() {
    while (waiting) {
      const given = waiting;
      waiting = null;
      try {
        await job(...given);
      } catch (error) {
        say(error.message, true);
        if (!error.kind) console.warn(error);
      }
    }
    busy = null;
  }
  return (...given) => {
    waiting = given;
    busy ??= work();
    return busy;
  };
}

/** "12 ms" */
export const milliseconds = (since) => `${Math.round(performance.now() - since)} ms`;

/** Bytes of a base64 text. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** A line under the pictures that says whose model answers. */
export function owner(about, names) {
  const own = names.filter((name) => about[name].own);
  return own.length ? `Your own ${own.join(", ")} answers here.` : "The shipped models answer here.";
}
