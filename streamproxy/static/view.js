/** Markdown on the page: blocks become elements, and a growing answer changes its last block only. No HTML is parsed. */

import { parseBlocks } from "./markdown.js";
import { texts } from "./texts.js";

const COPIED_MS = 1600;

/** Shows a text that grows. Everything but the last block stays the very same elements, selection included. */
export class MarkdownView {
  #root;
  #settled = 0;
  #last = null;

  constructor(root) {
    this.#root = root;
  }

  /** Show `text`, which begins with what was shown before; `growing` while more may follow. */
  update(text, { growing }) {
    const blocks = parseBlocks(text.slice(this.#settled), { growing });
    for (const [i, block] of blocks.entries()) {
      if (i > 0) this.#last = null;
      this.#show(block);
    }
    if (blocks.length === 0) {
      this.#last?.element.remove();
      this.#last = null;
    }
    this.#settled += blocks.at(-1)?.from ?? 0;
  }

  #show(block) {
    const last = this.#last;
    if (last?.block.kind === "fence" && block.kind === "fence") {
      updateFence(last.element, block);
      last.block = block;
      return;
    }
    const element = elementOf(block);
    if (last) last.element.replaceWith(element);
    else this.#root.append(element);
    this.#last = { block, element };
  }
}

const MAKERS = {
  paragraph: ({ children }) => make("p", inlines(children)),
  // The page has headings of its own above those of an answer.
  heading: ({ level, children }) => make(`h${Math.min(level + 2, 6)}`, inlines(children)),
  rule: () => make("hr"),
  quote: ({ blocks }) => make("blockquote", blocks.map(elementOf)),
  list: listOf,
  fence: fenceOf,
  table: tableOf,
  text: ({ text }) => document.createTextNode(text),
  code: ({ text }) => make("code", [text]),
  bold: ({ children }) => make("strong", inlines(children)),
  italic: ({ children }) => make("em", inlines(children)),
  break: () => make("br"),
  link: linkOf,
};

function elementOf(node) {
  return MAKERS[node.kind](node);
}

function inlines(children) {
  return children.map(elementOf);
}

/** A new element with attributes and children (nodes or text). */
export function make(name, children = [], attributes = {}) {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

const ICONS = {
  copy: "M7 7V4.5A1.5 1.5 0 0 1 8.5 3h7A1.5 1.5 0 0 1 17 4.5v7a1.5 1.5 0 0 1-1.5 1.5H13M4.5 7h7A1.5 1.5 0 0 1 13 8.5v7a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 3 15.5v-7A1.5 1.5 0 0 1 4.5 7z",
  again: "M16.5 10a6.5 6.5 0 1 1-2-4.7M16.5 3.5v3.2h-3.2",
  edit: "M4 16l.8-3.6 8.6-8.6a1.6 1.6 0 0 1 2.3 0l.5.5a1.6 1.6 0 0 1 0 2.3l-8.6 8.6zM12 5.2l2.8 2.8",
  forget: "M4 6h12M8 6V4.2h4V6M5.5 6l.7 10h7.6l.7-10",
  done: "M4.5 10.5l3.5 3.5 7.5-8",
};
const SVG = "http://www.w3.org/2000/svg";

function icon(name) {
  const [svg, path] = [document.createElementNS(SVG, "svg"), document.createElementNS(SVG, "path")];
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows one of the icons and says `label`. */
export function iconButton(name, label, onClick, kind = name) {
  const button = make("button", [icon(name)], { type: "button", class: `icon ${kind}`, "aria-label": label, title: label });
  button.addEventListener("click", onClick);
  return button;
}

/** A button that copies what `text()` gives and says so. */
export function copyButton(text) {
  const button = iconButton("copy", texts.copy, async () => {
    await copyText(text());
    confirm(texts.copied, "done");
    setTimeout(() => confirm(texts.copy, "copy"), COPIED_MS);
  }, "copy-all");
  const confirm = (label, name) => {
    button.ariaLabel = button.title = label;
    button.replaceChildren(icon(name));
  };
  return button;
}

function linkOf({ address, children }) {
  return make("a", inlines(children), { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
}

function listOf({ ordered, start, items }) {
  const entries = items.map((blocks) => make("li", blocks.flatMap((block, i) => (i === 0 ? lead(block) : [elementOf(block)]))));
  return ordered ? make("ol", entries, start === 1 ? {} : { start }) : make("ul", entries);
}

/** An item's first paragraph stands in the item itself. */
function lead(block) {
  return block.kind === "paragraph" ? inlines(block.children) : [elementOf(block)];
}

function tableOf({ aligned, rows }) {
  const [head, ...body] = rows.map((row, r) => {
    const cells = row.map((children, i) =>
      make(r === 0 ? "th" : "td", inlines(children), aligned[i] === "start" ? {} : { class: `to-${aligned[i]}` }),
    );
    return make("tr", cells);
  });
  const table = make("table", [make("thead", [head]), make("tbody", body)]);
  return make("div", [table], { class: "wide", tabindex: "0" });
}

function fenceOf(block) {
  const code = make("code", [document.createTextNode(block.text)]);
  const copy = make("button", [texts.copy], { type: "button", class: "copy" });
  copy.addEventListener("click", () => copyText(code.textContent).then(() => confirmCopy(copy)));
  const head = make("div", [make("span", [block.language]), copy], { class: "code-head" });
  return make("div", [head, make("pre", [code], { tabindex: "0" })], { class: "code" });
}

function updateFence(element, block) {
  const shown = element.querySelector("code").firstChild;
  // Appending leaves what is there alone: its layout, its selection, its scrolling.
  if (block.text.startsWith(shown.data)) shown.appendData(block.text.slice(shown.data.length));
  else shown.data = block.text;
  element.querySelector("span").textContent = block.language;
}

function confirmCopy(button) {
  button.textContent = texts.copied;
  setTimeout(() => (button.textContent = texts.copy), COPIED_MS);
}

async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Plain HTTP on another host than localhost has no clipboard object.
  const field = make("textarea", [], { class: "unseen" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
