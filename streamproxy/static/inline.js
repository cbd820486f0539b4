/**
 * The inside of a paragraph: **bold**, *italic*, `code`, [links](https://example.com) and plain addresses.
 *
 * The result is a tree of plain values, `{kind, children}` or `{kind, text}`, never HTML. Links lead to http and https
 * only; pictures become links, because loading one would tell a stranger's server who reads. Nesting is bounded and
 * every pattern here is linear: no answer can make the page deep or slow.
 */

const DEEPEST = 6;
const LINK = /!?\[((?:[^[\]\\\n]|\\.){1,400})\]\(<?([^\s<>()]{0,2000}(?:\([^\s()]{0,2000}\)[^\s<>()]{0,2000}){0,9})>?(?: {1,3}"[^"\n]{0,400}")?\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`,。;:!?、)】」』*|]{0,2000}[^\s<>"'`,。;:!?、)】」』*|.,;:!?)\]]/y;
const UNFINISHED_LINK = /!?\[[^[\]\n]{0,400}(?:\](?:\([^()\s]{0,2000})?)?$/;
const CODE = /`+/y;
const MARK = /\*{1,3}(?!\*)|_{1,3}(?!_)/y;
const ESCAPED = /\\([!-/:-@[-`{-~])/y;
const PLAIN = /[^\\`*_[!h\n]+|[^]/y;
const SPACE = /\s/;
const LETTER = /[\p{L}\p{N}]/u;

/**
 * Parse `text`, in which a line break is a hard one. While `growing`, marks that are still open count as closed at the
 * end, and an unfinished mark or link at the very end is held back: what is shown need not be taken back later.
 */
export function parseInline(text, { growing = false } = {}) {
  const shown = growing ? withoutTail(text.replace(UNFINISHED_LINK, ""), "*_`\\!") : text;
  return new Inline(shown, growing).parse();
}

/** `text` without the `letters` at its end. */
export function withoutTail(text, letters) {
  let end = text.length;
  while (end > 0 && letters.includes(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

/** An address that may be followed, else null. */
export function safeAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

class Inline {
  #text;
  #growing;
  #at = 0;
  #open = [{ kind: "root", mark: "", children: [] }];

  constructor(text, growing) {
    this.#text = text;
    this.#growing = growing;
  }

  parse() {
    while (this.#at < this.#text.length) {
      const known = this.#code() || this.#link() || this.#address() || this.#mark() || this.#escape() || this.#break();
      if (!known) this.#say(this.#take(PLAIN)[0]);
    }
    while (this.#open.length > 1) this.#close({ asWritten: !this.#growing });
    return this.#open[0].children;
  }

  #take(pattern) {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match) this.#at += match[0].length;
    return match;
  }

  #add(node) {
    return this.#open.at(-1).children.push(node);
  }

  #say(text) {
    const last = this.#open.at(-1).children.at(-1);
    if (last?.kind === "text") last.text += text;
    else this.#add({ kind: "text", text });
    return true;
  }

  #code() {
    const ticks = this.#take(CODE)?.[0];
    if (!ticks) return false;
    const start = this.#at;
    const closing = closingTicks(this.#text, start, ticks.length);
    if (closing < 0 && !this.#growing) return this.#say(ticks);
    const end = closing < 0 ? this.#text.length : closing;
    this.#at = closing < 0 ? end : end + ticks.length;
    const text = this.#text.slice(start, end);
    const padded = text.startsWith(" ") && text.endsWith(" ") && text.trim() !== "";
    return this.#add({ kind: "code", text: padded ? text.slice(1, -1) : text });
  }

  #link() {
    const match = this.#take(LINK);
    if (!match) return false;
    const label = match[1].replace(/\\([!-/:-@[-`{-~])/g, "$1");
    return this.#follow(match[2], label);
  }

  #address() {
    const before = this.#text[this.#at - 1] ?? " ";
    const match = before === "/" || LETTER.test(before) ? null : this.#take(ADDRESS);
    return match ? this.#follow(match[0], match[0]) : false;
  }

  #follow(written, label) {
    const address = safeAddress(written);
    return address ? this.#add({ kind: "link", address, children: [{ kind: "text", text: label }] }) : this.#say(label);
  }

  #mark() {
    const start = this.#at;
    const mark = this.#take(MARK)?.[0];
    if (!mark) return false;
    const [before, after] = [this.#text[start - 1] ?? " ", this.#text[this.#at] ?? " "];
    const inWord = mark[0] === "_" && LETTER.test(before) && LETTER.test(after);
    if (!inWord && !SPACE.test(before) && this.#closes(mark)) return true;
    if (inWord || SPACE.test(after) || this.#open.length > DEEPEST) return this.#say(mark);
    if (mark.length > 1) this.#open.push({ kind: "bold", mark: mark.slice(0, 2), children: [] });
    if (mark.length !== 2) this.#open.push({ kind: "italic", mark: mark[0], children: [] });
    return true;
  }

  /** Close what `mark` can close, the innermost first; false when there is nothing. */
  #closes(mark) {
    let left = mark;
    while (left) {
      const wanted = this.#open.findLast((node) => node.mark && left.startsWith(node.mark));
      if (!wanted) break;
      while (this.#open.at(-1) !== wanted) this.#close({ asWritten: true });
      this.#close({ asWritten: false });
      left = left.slice(wanted.mark.length);
    }
    if (left && left !== mark) this.#say(left);
    return left !== mark;
  }

  /** End the innermost open mark. `asWritten`: it was no mark after all and stands there as it was written. */
  #close({ asWritten }) {
    const { kind, mark, children } = this.#open.pop();
    if (!asWritten) return this.#add({ kind, children });
    this.#say(mark);
    for (const child of children) child.kind === "text" ? this.#say(child.text) : this.#add(child);
  }

  #escape() {
    const match = this.#take(ESCAPED);
    return match ? this.#say(match[1]) : false;
  }

  #break() {
    return this.#text[this.#at] === "\n" ? this.#add({ kind: "break" }) && ++this.#at : false;
  }
}

/** Where a run of exactly `count` backticks begins at or after `from`, else -1. */
function closingTicks(text, from, count) {
  for (let at = text.indexOf("`", from); at >= 0; at = text.indexOf("`", at)) {
    const start = at;
    while (text[at] === "`") at += 1;
    if (at - start === count) return start;
  }
  return -1;
}
