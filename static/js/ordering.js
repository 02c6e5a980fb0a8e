/* A project's events in their order, and what they say of its VMs. No document, no clock, no network. */

/** Gives back events in order and without gaps, however they arrive. */
export class Ordering {
  #waiting = new Map();

  /** @param {number} number of the last event that is contained in what is shown */
  constructor(number) {
    this.number = number;
    this.latest = number;
  }

  /** Whether an event is known to exist that is not applied yet. */
  get behind() {
    return this.number < this.latest;
  }

  /** The server says that the latest event has this number. */
  heard(number) {
    this.latest = Math.max(this.latest, number);
  }

  /** An event came. Returns those that can be applied now: none, this one, or this one and those it releases. */
  offer(event) {
    this.heard(event.number);
    if (event.number > this.number) this.#waiting.set(event.number, event);
    return this.#release();
  }

  /** A snapshot contains all events up to a number. Returns later ones that can be applied now. */
  skipTo(number) {
    this.heard(number);
    this.number = Math.max(this.number, number);
    for (const waiting of [...this.#waiting.keys()]) {
      if (waiting <= this.number) this.#waiting.delete(waiting);
    }
    return this.#release();
  }

  #release() {
    const ready = [];
    for (let next; (next = this.#waiting.get(this.number + 1)); ready.push(next)) {
      this.#waiting.delete(next.number);
      this.number = next.number;
    }
    return ready;
  }
}

/** The newest that is known of each VM, with the number of the event that said so. */
export class KnownVMs {
  #vms = new Map();

  /** `{number, payload}`, `payload` null for a VM that is gone; undefined for one that was never heard of. */
  get(id) {
    return this.#vms.get(id);
  }

  /**
   * Take what an event (or a snapshot, with its number) says of a VM; `payload` null: it is gone.
   * Returns null for what is older than what is known, else what is different now.
   */
  learn(id, number, payload) {
    const before = this.#vms.get(id);
    if (before && before.number >= number) return null;
    this.#vms.set(id, { number, payload });
    const was = before?.payload;
    const same = (read) => JSON.stringify(read(was)) === JSON.stringify(read(payload));
    return {
      appeared: !before && payload !== null,
      gone: payload === null,
      // Nothing but an operation's progress.
      minor: Boolean(was && payload) && same((vm) => [vm.state, vm.reason, vm.silent, vm.allowed, vm.address, vm.operation?.id]),
    };
  }
}

/** Milliseconds to wait before the next attempt to connect: 0.5 s, doubled up to 15 s, the lower half left to chance. */
export function backoff(attempt, random = Math.random) {
  return Math.min(15_000, 500 * 2 ** Math.min(attempt, 10)) * (0.5 + random() / 2);
}
