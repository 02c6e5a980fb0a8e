/* The serial console: a terminal on the shared stream. */

import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { SearchAddon } from "../vendor/xterm/addon-search.mjs";
import { Terminal } from "../vendor/xterm/xterm.mjs";
import { Console } from "./consoles.js";

const SCROLLBACK_LINES = 10_000;
/** How often the server is told how much was drawn: it sends no more than it knows to be drawn. */
const DRAWN_EVERY = 16 * 1024;
const CHUNK = 16 * 1024;

const make = Document.prototype.createElement.bind(document);

/** The terminal writes its colours into <style> elements, which our content policy refuses, empty ones too. It gets an
 * element that shows nothing, and what it writes into that goes into a constructed sheet, which is allowed. */
function sheetElement() {
  const element = make("template");
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", {
    get: () => "",
    set: (text) => sheet.replaceSync(text),
  });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/** Style attributes are refused as well; the same words given to the style object are not. */
function styledByObject(element) {
  element.setAttribute = (name, value) => {
    if (name === "style") element.style.cssText = value;
    else Element.prototype.setAttribute.call(element, name, value);
  };
  return element;
}

// For the whole page, as parts of the terminal ask the document past the one they are given. Nothing else here styles so.
document.createElement = (tag, ...rest) => (tag === "style" ? sheetElement() : styledByObject(make(tag, ...rest)));

class Serial {
  #root;
  #terminal;
  #fit = new FitAddon();
  #search = new SearchAddon();
  #console;
  #drawn = 0;
  #told = 0;

  constructor(root) {
    this.#root = root;
    const style = getComputedStyle(document.documentElement);
    const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#terminal = new Terminal({
      allowProposedApi: true,
      convertEol: false,
      cursorBlink: !reduced,
      fontFamily: style.getPropertyValue("--font-mono").trim(),
      fontSize: 13,
      screenReaderMode: true,
      scrollback: SCROLLBACK_LINES,
      theme: {
        background: style.getPropertyValue("--term-paper").trim(),
        foreground: style.getPropertyValue("--term-ink").trim(),
        selectionBackground: "#3d6f7c",
      },
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(this.#search);
    this.#terminal.open(root.querySelector("[data-console-terminal]"));
    this.#terminal.textarea.setAttribute("aria-label", root.querySelector("h2").textContent);
    this.#terminal.attachCustomKeyEventHandler((event) => this.#isForTheGuest(event));
    this.#terminal.onData((text) => this.#type(new TextEncoder().encode(text)));
    this.#terminal.onBinary((text) => this.#type(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    this.#console = new Console(root, {
      open: () => this.#open(),
      message: (message) => this.#hear(message),
    });
    this.#wire();
    new ResizeObserver(() => this.#fit.fit()).observe(root.querySelector("[data-console-terminal]"));
    this.#console.connect();
  }

  #open() {
    this.#terminal.reset(); // what was printed before comes again
    this.#drawn = this.#told = 0;
  }

  #hear(message) {
    if (message instanceof ArrayBuffer) return this.#show(new Uint8Array(message));
    if (message.type === "state") this.#console.say(message.state);
    if (message.type === "viewers") this.#root.querySelector("[data-console-viewers]").textContent = `${this.#console.text("viewers")}: ${message.count}.`;
    if (message.type === "skipped") this.#terminal.write(`\r\n\x1b[33m${this.#console.text("skipped")}\x1b[0m\r\n`);
    return undefined;
  }

  #show(bytes) {
    this.#terminal.write(bytes, () => {
      this.#drawn += bytes.length;
      if (this.#drawn - this.#told >= DRAWN_EVERY) {
        this.#console.send(JSON.stringify({ drawn: this.#drawn - this.#told }));
        this.#told = this.#drawn;
      }
    });
  }

  #type(bytes) {
    for (let start = 0; start < bytes.length; start += CHUNK) this.#console.send(bytes.slice(start, start + CHUNK));
  }

  /** Ctrl-Shift-C copies, as in every terminal. */
  #isForTheGuest(event) {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.key.toLowerCase() !== "c") return true;
    event.preventDefault();
    this.#copy();
    return false;
  }

  async #copy() {
    if (!this.#terminal.hasSelection()) this.#terminal.selectAll();
    const text = this.#terminal.getSelection();
    this.#terminal.clearSelection();
    await navigator.clipboard.writeText(text.trimEnd());
    document.querySelector("[data-announce]").textContent = this.#console.text("copied");
  }

  #wire() {
    const root = this.#root;
    const field = root.querySelector("#console-find");
    const find = (way) => {
      const found = !field.value || (way === "next" ? this.#search.findNext(field.value) : this.#search.findPrevious(field.value));
      document.querySelector("[data-announce]").textContent = found ? "" : this.#console.text("nothing");
      field.setAttribute("aria-invalid", String(!found));
    };
    root.querySelector("[data-console-search]").addEventListener("submit", (event) => {
      event.preventDefault();
      find("before");
    });
    root.querySelector("[data-console-next]").addEventListener("click", () => find("next"));
    root.querySelector("[data-console-copy]").addEventListener("click", () => this.#copy());
    root.querySelector("[data-console-size]").addEventListener("click", () => {
      this.#type(new TextEncoder().encode(`stty rows ${this.#terminal.rows} cols ${this.#terminal.cols}\r`));
      this.#terminal.focus();
    });
  }
}

for (const root of document.querySelectorAll('[data-console][data-kind="serial"]')) new Serial(root);
