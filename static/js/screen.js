/* The graphical console: noVNC on the site's own websocket. */

import RFB from "../vendor/novnc/core/rfb.js";
import { Console, save } from "./consoles.js";

const BACKGROUND = "#000";
const SHIFT = 0xffe1;
const RETURN = 0xff0d;

class Screen {
  #root;
  #place;
  #console;
  #rfb = null;
  #fits = true;

  constructor(root) {
    this.#root = root;
    this.#place = root.querySelector("[data-console-screen]");
    this.#console = new Console(root, {
      open: (socket) => this.#open(socket),
      closed: () => this.#closed(),
    });
    this.#wire();
    this.#console.connect();
  }

  #open(socket) {
    this.#closed();
    const rfb = new RFB(this.#place, socket, { shared: true });
    this.#rfb = rfb;
    rfb.scaleViewport = this.#fits;
    rfb.background = BACKGROUND;
    rfb.addEventListener("connect", () => this.#console.say("connected"));
    rfb.addEventListener("clipboard", ({ detail }) => {
      this.#root.querySelector("#console-clipboard").value = detail.text;
      document.querySelector("[data-announce]").textContent = this.#console.text("clipboard");
    });
    rfb.addEventListener("securityfailure", () => this.#console.say("refused"));
  }

  #closed() {
    this.#rfb?.disconnect();
    this.#rfb = null;
    this.#place.replaceChildren();
  }

  #type(text) {
    for (const character of text) {
      const code = character.codePointAt(0);
      const symbol = character === "\n" ? RETURN : code < 0x100 ? code : 0x01000000 + code;
      const upper = character !== character.toLowerCase();
      if (upper) this.#rfb.sendKey(SHIFT, "ShiftLeft", true);
      this.#rfb.sendKey(symbol, null);
      if (upper) this.#rfb.sendKey(SHIFT, "ShiftLeft", false);
    }
  }

  #wire() {
    const root = this.#root;
    const field = root.querySelector("#console-clipboard");
    const scale = root.querySelector("[data-console-scale]");
    root.querySelector("[data-console-cad]").addEventListener("click", () => {
      this.#rfb?.sendCtrlAltDel();
      this.#rfb?.focus();
    });
    scale.addEventListener("click", () => {
      this.#fits = !this.#fits;
      scale.setAttribute("aria-pressed", String(this.#fits));
      if (this.#rfb) this.#rfb.scaleViewport = this.#fits;
    });
    root.querySelector("[data-console-shot]").addEventListener("click", () => {
      const at = new Date().toISOString().replace(/[:.]/g, "-");
      this.#rfb?.toBlob((blob) => save(blob, `${root.dataset.name}-${at}.png`));
    });
    root.querySelector("[data-console-clipboard]").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#rfb?.clipboardPasteFrom(field.value);
    });
    root.querySelector("[data-console-type]").addEventListener("click", () => {
      if (!this.#rfb) return;
      this.#type(field.value);
      this.#rfb.focus();
    });
  }
}

for (const root of document.querySelectorAll('[data-console][data-kind="screen"]')) new Screen(root);
