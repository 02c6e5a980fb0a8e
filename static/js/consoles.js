/* A console's websocket: a ticket is fetched, shown as the first message, and everything after is the console's.
 *
 * What ends it is told by close codes; what may pass by itself is tried again with growing pauses.
 */

import { backoff } from "./ordering.js";

/** Close codes that end it for good, and what is said then. */
const FINAL = {
  4401: "signed_out", 4403: "forbidden", 4404: "gone", 4410: "cut", 4411: "no_device",
};
/** Close codes of what passes by itself. */
const WAITING = { 4412: "taken", 4413: "off", 4414: "lost" };
/** Refused tickets in a row after which something is wrong with us. */
const REFUSALS = 3;

export class Console {
  #root;
  #on;
  #texts;
  #status;
  #socket = null;
  #attempt = 0;
  #refused = 0;
  #pause = null;
  #state = "connecting";
  #run = 0;

  /**
   * @param {HTMLElement} root
   * @param {{open: (socket: WebSocket) => void, message?: (data: ArrayBuffer | object) => void, closed?: () => void}} on
   */
  constructor(root, on) {
    this.#root = root;
    this.#on = on;
    this.#texts = JSON.parse(document.getElementById("console-texts").textContent);
    this.#status = root.querySelector("[data-console-status]");
    root.querySelector("[data-console-reconnect]").addEventListener("click", () => this.reconnect());
    const full = root.querySelector("[data-console-full]");
    full.hidden = !document.fullscreenEnabled;
    full.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
    root.addEventListener("keydown", (event) => this.#leadOut(event), true);
    addEventListener("online", () => this.#pause !== null && this.connect());
    addEventListener("pagehide", () => this.#drop());
    document.querySelector('[hx-trigger~="vmportal:changed"]')?.addEventListener("vmportal:changed", () => {
      if (this.#state === "off" && !this.#socket) setTimeout(() => this.#onceItRuns(), 500);
    });
  }

  text(name) {
    return this.#texts[name] ?? name;
  }

  say(state, text = this.text(state)) {
    this.#state = state;
    if (this.#status.textContent === text && this.#status.dataset.state === state) return;
    this.#status.dataset.state = state;
    this.#status.textContent = text;
  }

  async connect() {
    clearTimeout(this.#pause);
    this.#pause = null;
    const run = (this.#run += 1);
    const ticket = await this.#ticket();
    if (run !== this.#run || !ticket) return;
    const url = new URL(ticket.path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.addEventListener("open", () => socket.send(JSON.stringify({ ticket: ticket.ticket })));
    socket.addEventListener("message", ({ data }) => this.#socket === socket && this.#hear(socket, data));
    socket.addEventListener("close", ({ code }) => this.#socket === socket && this.#lose(code));
  }

  /** Start over, whatever the state is. */
  reconnect() {
    this.#drop();
    this.#attempt = this.#refused = 0;
    this.say("connecting");
    this.connect();
  }

  send(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  #hear(socket, data) {
    const message = typeof data === "string" ? JSON.parse(data) : data;
    if (message.type === "open") {
      this.#attempt = this.#refused = 0;
      this.#changed();
      this.#on.open(socket);
    } else {
      this.#on.message?.(message);
    }
  }

  #lose(code) {
    this.#socket = null;
    this.#on.closed?.();
    this.#changed();
    if (FINAL[code]) return this.say(FINAL[code]);
    if ((code === 4409 || code === 4400) && (this.#refused += 1) >= REFUSALS) return this.say("refused");
    this.say(WAITING[code] ?? "reconnecting");
    if (code === 4413) return undefined; // the page hears when the VM runs again
    return this.#later();
  }

  #later() {
    this.#attempt += 1;
    this.#pause = setTimeout(() => this.connect(), backoff(this.#attempt));
  }

  #drop() {
    this.#run += 1;
    clearTimeout(this.#pause);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.close();
      this.#on.closed?.();
    }
  }

  #onceItRuns() {
    if (document.querySelector('#vm-head [data-field="state"]')?.dataset.state === "RUNNING") this.connect();
  }

  async #ticket() {
    const token = this.#root.querySelector("[name=csrfmiddlewaretoken]").value;
    try {
      const response = await fetch(this.#root.dataset.ticket, { method: "POST", headers: { "X-CSRFToken": token }, redirect: "manual" });
      if (response.ok) return await response.json();
      if (response.type === "opaqueredirect") {
        this.say("signed_out"); // the way to the sign-in page
        return null;
      }
      const refusal = await response.json().catch(() => ({}));
      if (response.status < 500) this.say(response.status === 404 ? "gone" : "refused", refusal.text);
      else this.#later();
    } catch {
      this.say("reconnecting");
      this.#later();
    }
    return null;
  }

  /** The list of who has a console open is fetched again. */
  #changed() {
    setTimeout(() => htmx.trigger("#console-sessions", "console:changed"), 300);
  }

  /** The keyboard is the guest's while a console has the focus: this is the way out. */
  #leadOut(event) {
    if (event.key !== "F6" || !event.ctrlKey || !event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.#root.querySelector("[data-console-reconnect]").focus();
  }
}

/** Save a blob as a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
