/* The websocket: opened, watched, and opened again with growing pauses. It knows nothing of what is said through it. */

import { backoff } from "./ordering.js";

/** Close codes after which trying again is useless. */
const FINAL = new Set([4401, 4403, 4404]);
/** The server speaks at least every 10 s; two beats missed and a little. */
const SILENCE_MS = 22_000;
const CONNECT_MS = 10_000;

export class Connection {
  #url;
  #on;
  #socket = null;
  #attempt = 0;
  #pause = null;
  #silence = null;
  #left = false;
  #welcomed = false;

  /** @param {{message: (message: object) => void, lost: (forEver: boolean) => void}} on */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
    addEventListener("online", () => this.#retryNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#retryNow());
    addEventListener("pagehide", () => this.#leave());
  }

  open() {
    if (this.#left) return;
    clearTimeout(this.#pause);
    this.#pause = null;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#listenFor(CONNECT_MS);
    socket.addEventListener("message", ({ data }) => this.#socket === socket && this.#hear(data));
    socket.addEventListener("close", ({ code }) => this.#socket === socket && this.#lose(code));
  }

  /** Send a message; lost when there is no connection, as the next hello starts over anyway. */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** The server welcomed us: the next loss is a first one. */
  welcomed() {
    this.#attempt = 0;
    this.#welcomed = true;
  }

  #hear(data) {
    this.#listenFor(SILENCE_MS);
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message?.v === 1) this.#on.message(message);
  }

  #listenFor(milliseconds) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lose(0), milliseconds);
  }

  #lose(code) {
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    if (this.#left) return;
    // A session may have been replaced (a change of password in another tab): one more try with the new cookie.
    const final = FINAL.has(code) && !(code === 4401 && this.#welcomed);
    this.#welcomed = false;
    this.#on.lost(final);
    if (final) this.#left = true;
    else this.#pause = setTimeout(() => this.open(), backoff(this.#attempt++));
  }

  #retryNow() {
    if (this.#pause === null) return;
    this.#attempt = 0;
    this.open();
  }

  #leave() {
    this.#left = true;
    clearTimeout(this.#pause);
    clearTimeout(this.#silence);
    this.#socket?.close();
  }
}
