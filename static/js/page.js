/* What is shown of VMs: writes into the elements that the server rendered.
 *
 * Elements carry data-field inside a [data-vm]; the nearest data-number above an element is that of the last event
 * which its rendering contains, so that an event is never overwritten by, nor overwrites, something newer.
 */

const EMPTY = "–";
const REFRESH_MS = 150;
const LIST_MS = 1_000;
const AGAIN_MS = 2_000;
/** So many rows at once are fetched as one list. */
const MANY = 5;
const WANTS_REFRESH = '[hx-trigger~="vmportal:changed"]';

const renderedAt = (element) => Number(element.closest("[data-number]")?.dataset.number ?? 0);

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Page {
  #names;
  #stale = false;
  #toRefresh = new Map();
  #refreshTimer = null;
  #listTimer = null;
  #listAt = Infinity;

  /** @param {Object<string, string>} names of the states, in the page's language */
  constructor(names) {
    this.#names = names;
    document.addEventListener("htmx:sendError", (event) => this.#refreshAgain(event.detail.elt));
    document.addEventListener("htmx:responseError", (event) => {
      if (event.detail.xhr.status >= 500) this.#refreshAgain(event.detail.elt);
    });
  }

  // --- what is there ------------------------------------------------------------------------------------------

  /** Ids of the VMs that are shown. */
  ids() {
    return new Set([...document.querySelectorAll("[data-vm]")].map((root) => root.dataset.vm));
  }

  #roots(id) {
    return document.querySelectorAll(`[data-vm="${CSS.escape(id)}"]`);
  }

  // --- a VM ---------------------------------------------------------------------------------------------------

  /** Show what event `number` said of a VM, wherever something older is shown. Returns whether a state changed. */
  show(id, number, payload) {
    let turned = false;
    for (const root of this.#roots(id)) {
      if (payload === null) this.#remove(root, number);
      else if (this.#fill(root, number, payload)) turned = true;
    }
    return turned;
  }

  #remove(root, number) {
    if (root.matches("tr, li") && renderedAt(root) < number) root.remove();
  }

  #fill(root, number, payload) {
    const fields = [...root.querySelectorAll("[data-field]")].filter((field) => renderedAt(field) < number);
    const of = (name) => fields.filter((field) => field.dataset.field === name);
    const changed = of("state").filter((badge) => this.#setState(badge, payload.state)).length > 0;
    for (const field of of("operation")) this.#setOperation(field, payload.operation);
    for (const name of ["address", "host", "power"]) {
      for (const field of of(name)) write(field, payload[name] ?? EMPTY);
    }
    if (changed) {
      // The server translates reasons: another language waits for the fragment.
      const reason = document.documentElement.lang.startsWith("en") ? payload.reason : "";
      for (const field of of("reason")) write(field, reason);
      for (const time of of("since").flatMap((field) => [...field.querySelectorAll("time")])) {
        time.dateTime = payload.since;
      }
    }
    return changed;
  }

  #setState(badge, state) {
    const before = badge.dataset.state;
    if (before === state) return false;
    badge.classList.remove(`state--${before?.toLowerCase()}`);
    badge.classList.add(`state--${state.toLowerCase()}`);
    badge.dataset.state = state;
    badge.removeAttribute("title");
    write(badge, this.#names[state] ?? state);
    return true;
  }

  #setOperation(field, operation) {
    const shown = field.querySelector("[data-operation]")?.dataset.operation;
    if (shown && operation && shown !== operation.id) return; // another one: the fragment brings it
    for (const bar of field.querySelectorAll("progress")) {
      if (!operation) bar.remove();
      else {
        if (bar.value !== operation.progress) bar.value = operation.progress;
        bar.classList.toggle("progress--undoing", operation.undoing);
      }
    }
    if (!operation) return;
    for (const percent of field.querySelectorAll(".operation__percent")) write(percent, `${operation.progress} %`);
    const steps = field.querySelectorAll(".step");
    if (steps.length !== operation.steps.length) return;
    operation.steps.forEach((step, index) => {
      const name = `step step--${step.status}`;
      if (steps[index].className !== name) steps[index].className = name;
    });
  }

  // --- parts that fetch themselves again -----------------------------------------------------------------------

  /** Let the parts of a VM that want it be fetched again, once for many changes in a row; rows only for what is not `minor`. */
  refresh(id, { minor = false } = {}) {
    this.#toRefresh.set(id, (this.#toRefresh.get(id) ?? true) && minor);
    this.#refreshTimer ??= setTimeout(() => this.#refreshNow(), REFRESH_MS);
  }

  #refreshNow() {
    this.#refreshTimer = null;
    const parts = [];
    for (const [id, minor] of this.#toRefresh) {
      for (const root of this.#roots(id)) {
        if (root.matches(WANTS_REFRESH) && !minor) parts.push(root);
        parts.push(...root.querySelectorAll(WANTS_REFRESH));
      }
    }
    this.#toRefresh.clear();
    const inLists = parts.filter((part) => part.closest("[data-vm-list]"));
    if (inLists.length > MANY) this.refreshLists({ soon: true });
    for (const part of parts) {
      if (inLists.length <= MANY || !inLists.includes(part)) part.dispatchEvent(new CustomEvent("vmportal:changed"));
    }
  }

  /** A part did not come, and no further event may ask for it: ask again in a while. */
  #refreshAgain(part) {
    const trigger = part.getAttribute("hx-trigger") ?? "";
    setTimeout(() => {
      if (trigger.includes("vmportal:changed")) part.dispatchEvent(new CustomEvent("vmportal:changed"));
      if (trigger.includes("vmportal:listchanged")) this.refreshLists({ soon: true });
    }, AGAIN_MS);
  }

  /** Let lists be fetched again: `soon` for a VM that came or went, else within a second. */
  refreshLists({ soon }) {
    const delay = soon ? REFRESH_MS : LIST_MS;
    if (this.#listAt <= performance.now() + delay) return;
    clearTimeout(this.#listTimer);
    this.#listAt = performance.now() + delay;
    this.#listTimer = setTimeout(() => this.#refreshListsNow(), delay);
  }

  #refreshListsNow() {
    this.#listAt = Infinity;
    for (const list of document.querySelectorAll("[data-vm-list]")) {
      list.dispatchEvent(new CustomEvent("vmportal:listchanged"));
    }
  }

  // --- the connection --------------------------------------------------------------------------------------------

  /** @param {"connecting"|"connected"|"reconnecting"|"off"} status */
  showStatus(status) {
    for (const element of document.querySelectorAll("[data-live-status]")) {
      if (element.dataset.liveStatus !== status) element.dataset.liveStatus = status;
      const texts = { connected: "textConnected", reconnecting: "textReconnecting", off: "textOff" };
      write(element, element.dataset[texts[status]] ?? "");
    }
  }

  /** Badges say that what they show may be over. */
  showStale(stale = this.#stale) {
    this.#stale = stale;
    for (const badge of document.querySelectorAll("[data-field=state]")) {
      if (badge.classList.contains("is-stale") !== stale) badge.classList.toggle("is-stale", stale);
    }
  }

  /** Tell people who do not see the badges. */
  announce(payload) {
    const place = document.querySelector("[data-announce]");
    if (place) place.textContent = `${payload.name}: ${this.#names[payload.state] ?? payload.state}`;
  }
}
