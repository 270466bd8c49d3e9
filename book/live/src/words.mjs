// Words: captions to ids as mmcourse.text.Vocabulary does it, and the phrases that can be exchanged. No page, no network.

/** A sentence that cannot become ids. `kind` is "empty", "unknown" (then `words` lists them) or "long". */
export class WordError extends Error {
  constructor(kind, message, words = []) {
    super(message);
    this.kind = kind;
    this.words = words;
  }
}

/** The words of a text. `table` is vocabulary.json, which says the rule. */
export function split(table, text) {
  const han = new RegExp("^" + table.han);
  const known = index(table);
  const words = [];
  for (const piece of text.toLowerCase().match(new RegExp(table.pieces, "g")) ?? []) {
    if (!han.test(piece)) {
      words.push(piece);
      continue;
    }
    for (let at = 0; at < piece.length; ) {
      let length = Math.min(table.longest, piece.length - at);
      while (length > 1 && !known.has(piece.slice(at, at + length))) length--;
      words.push(piece.slice(at, at + length));
      at += length;
    }
  }
  return words;
}

const indices = new WeakMap();
function index(table) {
  if (!indices.has(table)) indices.set(table, new Map(table.words.map((word, i) => [word, i])));
  return indices.get(table);
}

/** The ids of a text, without padding. Throws a WordError. */
export function ids(table, text) {
  const known = index(table);
  const words = split(table, text);
  if (!words.length) throw new WordError("empty", table.empty);
  const missing = [...new Set(words.filter((word) => !known.has(word)))];
  if (missing.length) {
    const named = missing.map((word) => `“${word}”`).join(", ");
    const message = `The model does not know ${named}. It knows six shapes, eight colours, two sizes and where things are.`;
    throw new WordError("unknown", message, missing);
  }
  if (words.length > table.length) {
    throw new WordError("long", `The sentence has ${words.length} words; the model reads at most ${table.length}.`);
  }
  return words.map((word) => known.get(word));
}

const CHINESE = /[㐀-鿿]/;
const letter = /[a-z0-9]/i;

/**
 * The phrases of a text that can be exchanged: {start, end, text, group}, from left to right, without overlap.
 * `groups` is swaps.json. The longest phrase counts: in "on the left of" that is the whole relation.
 */
export function phrases(groups, text) {
  const language = CHINESE.test(text) ? "zh" : "en";
  const lower = text.toLowerCase();
  const forms = [];
  for (const group of groups) {
    if (group.language !== language) continue;
    for (const form of Object.keys(group.forms)) forms.push({ form, group });
  }
  forms.sort((a, b) => b.form.length - a.form.length);
  const found = [];
  for (let at = 0; at < lower.length; ) {
    const fits = ({ form }) =>
      lower.startsWith(form, at) &&
      (language === "zh" || !(letter.test(lower[at - 1] ?? "") || letter.test(lower[at + form.length] ?? "")));
    const hit = forms.find(fits);
    if (hit) {
      found.push({ start: at, end: at + hit.form.length, text: text.slice(at, at + hit.form.length), group: hit.group });
      at += hit.form.length;
    } else {
      at += 1;
    }
  }
  return found;
}

/** The sentences with one phrase exchanged for each choice of its group, the articles mended: {choice, text}. */
export function exchanged(text, phrase) {
  return phrase.group.choices.map((choice) => {
    const put = text.slice(0, phrase.start) + choice + text.slice(phrase.end);
    return { choice, text: put.replace(/\b(a|an)\b(?=\s+([a-z]))/gi, (_, old, next) => article(old, next)) };
  });
}

function article(old, next) {
  const small = /[aeiou]/i.test(next) ? "an" : "a";
  return old[0] === "A" ? small[0].toUpperCase() + small.slice(1) : small;
}
