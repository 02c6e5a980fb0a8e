/* Keeps the page true: events of the project arrive by websocket, are put in order and shown.
 *
 * While it cannot be known whether something was missed, the page says "reconnecting" and its badges are stale.
 */

import { Connection } from "./connection.js";
import { KnownVMs, Ordering } from "./ordering.js";
import { Page } from "./page.js";

/** A gap may close by itself: messages overtake each other. */
const GAP_MS = 500;
/** Asked, and still behind: say so, and ask again as often. */
const ASK_AGAIN_MS = 1_000;
const FETCH_AGAIN_MS = 2_000;
/** What the first connection may take before the page speaks of it. */
const GRACE_MS = 1_000;

class Live {
  #known = new KnownVMs();
  #ordering;
  #page;
  #connection;
  #snapshotUrl;
  #welcomed = false; // the server said hello on the present connection
  #pushed = false; // the server is told of events at once; else it looks every few seconds
  #behind = false; // events are missing, and asking did not bring them yet
  #over = false; // the session or the right ended
  #grace = true;
  #gapTimer = null;
  #fetching = false;

  constructor({ number, ws, snapshot }) {
    this.#ordering = new Ordering(Number(number));
    this.#snapshotUrl = snapshot;
    this.#page = new Page(JSON.parse(document.getElementById("state-names")?.textContent ?? "{}"));
    const url = new URL(ws, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.#connection = new Connection(url, {
      message: (message) => this.#hear(message),
      lost: (forEver) => this.#lost(forEver),
    });
  }

  start() {
    // Whoever changes the page (htmx's swaps), the newest that is known is shown again before it is painted.
    new MutationObserver(() => this.#showAll()).observe(document.body, { childList: true, subtree: true });
    setTimeout(() => {
      this.#grace = false;
      this.#showStatus();
    }, GRACE_MS);
    this.#showStatus();
    this.#connection.open();
  }

  // --- the connection ---------------------------------------------------------------------------------------------

  #hear(message) {
    switch (message.type) {
      case "hello":
        this.#connection.welcomed();
        this.#welcomed = true;
        // An older database was put back: nothing on the page can be trusted.
        if (message.number < this.#ordering.number) location.reload();
        this.#pushed = message.live;
        this.#ordering.heard(message.number);
        this.#behind = this.#ordering.behind;
        if (this.#behind) this.#ask();
        break;
      case "event":
        this.#take(this.#ordering.offer(message));
        break;
      case "note":
        for (const part of document.querySelectorAll(`[data-note="${CSS.escape(message.subject)}"]`)) part.dispatchEvent(new CustomEvent("vmportal:note"));
        break;
      case "heartbeat":
        this.#pushed = message.live;
        this.#ordering.heard(message.number);
        break;
      case "resync":
        this.#ordering.heard(message.number);
        this.#fetchSnapshot();
        break;
      default: // an error: of a newer version, or of ours
    }
    this.#watchGap();
    this.#showStatus();
  }

  #lost(forEver) {
    this.#over = forEver;
    this.#welcomed = false;
    this.#grace = false;
    clearTimeout(this.#gapTimer);
    this.#gapTimer = null;
    this.#showStatus();
  }

  #showStatus() {
    const knows = this.#welcomed && !this.#behind;
    const waiting = this.#grace ? "connecting" : "reconnecting";
    const status = this.#over ? "off" : !knows ? waiting : this.#pushed ? "connected" : "off";
    this.#page.showStatus(status);
    this.#page.showStale(!knows && !this.#grace);
  }

  // --- gaps --------------------------------------------------------------------------------------------------------

  #watchGap() {
    if (!this.#ordering.behind) {
      clearTimeout(this.#gapTimer);
      this.#gapTimer = null;
      if (!this.#fetching) this.#behind = false;
    } else if (this.#welcomed) {
      this.#gapTimer ??= setTimeout(() => this.#ask(), GAP_MS);
    }
  }

  /** Ask for what is missing; until it came, again and again, and the page says that it does not know. */
  #ask() {
    clearTimeout(this.#gapTimer);
    this.#connection.send({ type: "since", number: this.#ordering.number });
    this.#gapTimer = setTimeout(() => {
      this.#behind = true;
      this.#showStatus();
      this.#ask();
    }, ASK_AGAIN_MS);
  }

  /** Too much was missed: fetch what is shown as it is now. */
  async #fetchSnapshot() {
    if (this.#fetching) return;
    this.#fetching = this.#behind = true;
    const shown = this.#page.ids();
    const url = new URL(this.#snapshotUrl, location.href);
    for (const id of shown.size ? shown : ["none"]) url.searchParams.append("vm", id);
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.#takeSnapshot(await response.json(), shown);
      this.#fetching = this.#behind = false;
    } catch {
      setTimeout(() => {
        this.#fetching = false;
        if (!this.#over) this.#fetchSnapshot();
      }, FETCH_AGAIN_MS);
    }
    this.#watchGap();
    this.#showStatus();
  }

  // --- what was told ----------------------------------------------------------------------------------------------

  #take(events) {
    for (const { number, kind, payload } of events) {
      this.#learn(payload.id, number, kind === "vm.gone" ? null : payload);
    }
  }

  #takeSnapshot({ number, vms }, asked) {
    const found = new Map(vms.map((vm) => [vm.id, vm]));
    for (const id of asked) {
      this.#learn(id, number, found.get(id) ?? null);
      this.#page.refresh(id);
    }
    this.#page.refreshLists({ soon: true });
    this.#take(this.#ordering.skipTo(number));
  }

  #learn(id, number, payload) {
    const change = this.#known.learn(id, number, payload);
    if (!change) return;
    const shown = this.#page.ids().has(id);
    const turned = this.#page.show(id, number, payload);
    this.#page.refresh(id, { minor: change.minor });
    if (change.gone || (change.appeared && !shown)) this.#page.refreshLists({ soon: true });
    else if (turned || !change.minor) this.#page.refreshLists({ soon: false });
    if (turned) this.#page.announce(payload);
  }

  #showAll() {
    for (const id of this.#page.ids()) {
      const known = this.#known.get(id);
      if (known) this.#page.show(id, known.number, known.payload);
    }
    this.#page.showStale();
  }
}

if (document.body.dataset.ws) new Live(document.body.dataset).start();
