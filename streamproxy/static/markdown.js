/**
 * Markdown as models write it, as a list of blocks: paragraphs, headings, lists, code, quotes, tables, rules.
 *
 * Each block knows where in the text it begins (`from`), so that a growing answer is parsed from its last block only.
 * The blocks are plain values; `view.js` makes elements of them. Raw HTML stays text.
 */

import { parseInline, withoutTail } from "./inline.js";

const DEEPEST = 6;
const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])([ \t]+|$)/;
const QUOTE = /^ {0,3}> ?/;
const ROW = /^ {0,3}\|/;
const DIVIDER = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const LONGEST_DIVIDER = 1000;
// What the last line may still be the beginning of: it is shown when it is known.
const UNDECIDED = /^ {0,3}(?:#{1,6}|[-+*_]+|`{1,2}|~{1,2}|\d{1,9}[.)]?|\|.*)[ \t]*$/;
const CJK_END = /[\u2e80-\u9fff\uff00-\uffef]$/;
const CJK_START = /^[\u2e80-\u9fff\uff00-\uffef]/;

/** Blocks of `text`. `growing`: more may follow, so what is undecided at the end is held back or left open. */
export function parseBlocks(text, { growing = false, depth = 0 } = {}) {
  return new Blocks(text, growing, depth).parse();
}

class Blocks {
  #written;
  #lines;
  #growing;
  #depth;
  #at = 0;
  #from = 0;

  constructor(text, growing, depth) {
    this.#written = text.split("\n");
    this.#lines = this.#written.map((line) => line.replace(/^[ \t]+/, (indent) => indent.replaceAll("\t", "    ")));
    this.#growing = growing;
    this.#depth = depth;
  }

  parse() {
    const blocks = [];
    while (this.#more) {
      const from = this.#from;
      const block = this.#block();
      if (block) blocks.push({ ...block, from });
    }
    return blocks;
  }

  #block() {
    if (isBlank(this.#line)) {
      this.#next();
      return null;
    }
    if (this.#undecided) return this.#paragraph();
    return this.#fence() ?? this.#heading() ?? this.#rule() ?? this.#nested() ?? this.#table() ?? this.#paragraph();
  }

  get #more() {
    return this.#at < this.#lines.length;
  }

  get #line() {
    return this.#lines[this.#at];
  }

  /** Whether this is the last line, still growing, and may yet turn out to be something else. */
  get #undecided() {
    return this.#growing && this.#at === this.#lines.length - 1 && UNDECIDED.test(this.#line);
  }

  /** Whether the lines read so far may go on with what comes next. */
  get #open() {
    const left = this.#lines.length - this.#at;
    return this.#growing && (left === 0 || (left === 1 && this.#line === ""));
  }

  #next() {
    this.#from += this.#written[this.#at].length + 1;
    return this.#lines[this.#at++];
  }

  #fence() {
    const match = fenceOf(this.#line);
    if (!match) return null;
    const indent = this.#line.search(/\S/);
    const [mark, language] = [match[1], match[2].trim().split(/\s/)[0]];
    this.#next();
    const lines = [];
    while (this.#more && !closesFence(this.#line, mark)) {
      // Tabs matter in code, and can only be kept where no indentation has to go.
      const [line, written] = [this.#line, this.#written[this.#at]];
      lines.push(indent === 0 ? written : line.slice(Math.min(indent, line.search(/\S|$/))));
      this.#next();
    }
    if (this.#more) this.#next();
    else if (!this.#growing && lines.at(-1) === "") lines.pop();
    else if (this.#growing && withoutTail(lines.at(-1)?.trim() ?? "", mark[0]) === "") lines.splice(-1, 1, ""); // half a fence
    return { kind: "fence", language, text: lines.join("\n") };
  }

  #heading() {
    const match = HEADING.exec(this.#line);
    if (!match) return null;
    this.#next();
    const text = withoutTail(match[2].trimEnd(), "#").trimEnd();
    return { kind: "heading", level: match[1].length, children: this.#inline(text, this.#growing && !this.#more) };
  }

  #rule() {
    if (!RULE.test(this.#line)) return null;
    this.#next();
    return { kind: "rule" };
  }

  #nested() {
    if (this.#depth >= DEEPEST) return null;
    if (QUOTE.test(this.#line)) return this.#quote();
    return ITEM.test(this.#line) ? this.#list() : null;
  }

  #quote() {
    const lines = [];
    while (this.#more && QUOTE.test(this.#line)) lines.push(this.#next().replace(QUOTE, ""));
    return { kind: "quote", blocks: this.#inside(lines) };
  }

  #list() {
    const mark = ITEM.exec(this.#line)[2];
    const start = Number.parseInt(mark, 10);
    const items = [];
    while (this.#more && isItem(this.#line, mark) && !this.#undecided) items.push(this.#inside(this.#item()));
    return { kind: "list", ordered: !Number.isNaN(start), start, items };
  }

  /** The lines of one item, without its mark and indentation. */
  #item() {
    const [all, , mark] = ITEM.exec(this.#line);
    const lines = [this.#next().slice(all.length)];
    let indent = all.length;
    while (this.#more) {
      let filled = this.#at;
      while (filled < this.#lines.length && isBlank(this.#lines[filled])) filled += 1;
      if (filled === this.#lines.length) break;
      const [line, apart] = [this.#lines[filled], filled > this.#at];
      const deep = line.search(/\S/) >= 2;
      if (!deep && (apart ? !isItem(line, mark) : startsBlock(line))) break;
      while (this.#at < filled) lines.push(this.#next().trim());
      if (!deep && apart) break; // the next item of the same list
      if (deep && lines.length === 1) indent = Math.min(indent, line.search(/\S/));
      lines.push(this.#next().slice(Math.min(indent, line.search(/\S/))));
    }
    return lines;
  }

  #inside(lines) {
    return parseBlocks(lines.join("\n"), { growing: this.#open, depth: this.#depth + 1 });
  }

  #table() {
    if (!this.#startsTable()) return null;
    const head = cells(this.#next());
    const aligned = cells(this.#next()).map(alignment);
    const rows = [head];
    while (this.#more && this.#line.includes("|")) {
      // A row that is still being written waits until it is whole, or its cells would wander.
      const half = this.#growing && this.#at === this.#lines.length - 1 && !this.#line.slice(1).trimEnd().endsWith("|");
      const row = cells(this.#next());
      if (!half) rows.push(row);
    }
    const whole = rows.map((row) => head.map((_, i) => this.#inline(row[i] ?? "")));
    return { kind: "table", aligned, rows: whole };
  }

  #startsTable() {
    const [line, divider] = [this.#line, this.#lines[this.#at + 1]];
    if (!line.includes("|") || divider === undefined || divider.length > LONGEST_DIVIDER) return false;
    return DIVIDER.test(divider) && cells(line).length === cells(divider).length;
  }

  #paragraph() {
    const lines = this.#undecided ? [] : [this.#line];
    this.#next();
    while (this.#more && !startsBlock(this.#line) && !(ROW.test(this.#line) && this.#startsTable())) {
      if (!this.#undecided) lines.push(this.#line);
      this.#next();
    }
    // One row alone may be the head of a table.
    if (this.#open && lines.length === 1 && ROW.test(lines[0])) return null;
    return lines.length ? { kind: "paragraph", children: this.#inline(joined(lines), this.#open) } : null;
  }

  #inline(text, growing = false) {
    return parseInline(text, { growing });
  }
}

const isBlank = (line) => line.trim() === "";
const isItem = (line, mark) => ITEM.exec(line)?.[2].at(-1) === mark.at(-1) && !RULE.test(line);

function startsBlock(line) {
  return isBlank(line) || fenceOf(line) || [HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
}

function fenceOf(line) {
  const match = FENCE.exec(line);
  return match && !(match[1][0] === "`" && match[2].includes("`")) ? match : null;
}

function closesFence(line, mark) {
  const text = line.trim();
  return text.length >= mark.length && withoutTail(text, mark[0]) === "";
}

/** The lines of a paragraph as one text, in which a line break is a hard one. */
function joined(lines) {
  const parts = lines.map((line, i) => {
    const text = line.trim();
    if (i === lines.length - 1) return text;
    if (line.endsWith("  ")) return `${text}\n`;
    if (line.endsWith("\\")) return `${text.slice(0, -1)}\n`;
    return CJK_END.test(text) && CJK_START.test(lines[i + 1].trimStart()) ? text : `${text} `;
  });
  return parts.join("");
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "");
  return (inner.endsWith("|") ? inner.slice(0, -1) : inner).split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function alignment(cell) {
  if (!cell.endsWith(":")) return "start";
  return cell.startsWith(":") ? "center" : "end";
}
