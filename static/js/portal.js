/* What the pages do beyond htmx: sheets, copying, times, following the serial output. Every page works without it. */
"use strict";

(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const on = (name, handler) => document.addEventListener(name, handler);

  // --- times: relative in the text, kept fresh -----------------------------------------------------------------
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const words = new Intl.RelativeTimeFormat(root.lang || "en", { numeric: "auto" });
  const relative = (iso) => {
    const seconds = Math.round((new Date(iso).getTime() - Date.now()) / 1000);
    if (Math.abs(seconds) < 5) return words.format(0, "second");
    const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) ?? units.at(-1);
    if (unit === "day" && Math.abs(seconds) > 30 * 86400) return null;
    return words.format(Math.trunc(seconds / size), unit);
  };
  const refreshTimes = (within = document) => {
    for (const time of within.querySelectorAll("time[data-relative]")) {
      const text = relative(time.dateTime);
      if (text && time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(refreshTimes, 10_000);

  // The browser's time zone, for people who chose none; the next page is shown in it.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`vmportal_time_zone=${encodeURIComponent(zone)}`)) {
    document.cookie = `vmportal_time_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
  }

  // --- the sheet: confirmations over the page --------------------------------------------------------------------
  const sheet = document.getElementById("sheet");
  on("htmx:afterSwap", (event) => {
    if (event.target.id === "sheet-content" && sheet && !sheet.open) sheet.showModal();
  });
  on("click", (event) => {
    if (event.target === sheet) sheet.close();
    if (event.target.closest?.("[data-close]")) {
      event.preventDefault();
      sheet?.close();
    }
    event.target.closest?.("[data-dismiss]")?.closest(".note")?.remove();
  });
  // Close open menus on a click elsewhere or Escape.
  on("click", (event) => {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  on("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details[data-menu][open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // --- htmx: refusals are shown, failures are said ------------------------------------------------------------------
  on("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.getResponseHeader("HX-Retarget")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
      sheet?.close();
    }
  });
  const sayFailure = (event) => {
    if (event.detail.requestConfig?.verb === "get") return; // a fragment that did not come; the next event fetches it
    const note = document.getElementById("failure-note");
    const flash = document.getElementById("flash");
    if (note && flash) flash.replaceChildren(note.content.cloneNode(true));
    sheet?.close();
  };
  on("htmx:responseError", sayFailure);
  on("htmx:sendError", sayFailure);

  // An action was taken: fetch the VM's parts again, also when no push arrives.
  on("portal:acted", (event) => {
    sheet?.close();
    document.getElementById("flash")?.replaceChildren();
    const vm = CSS.escape(event.detail.vm);
    const parts = `[data-vm="${vm}"][hx-trigger~="vmportal:changed"], [data-vm="${vm}"] [hx-trigger~="vmportal:changed"]`;
    for (const part of document.querySelectorAll(parts)) htmx.trigger(part, "vmportal:changed");
  });

  // --- parts fetched again every few seconds, while somebody looks -----------------------------------------------------
  // data-poll says how many seconds (4 when it says nothing). What holds the focus stays: a key press must not miss it.
  const TICK_SECONDS = 4;
  let ticks = 0;
  setInterval(() => {
    if (document.visibilityState !== "visible") return;
    ticks += 1;
    for (const part of document.querySelectorAll("[data-poll]")) {
      const every = Math.max(1, Math.round(Number(part.dataset.poll || TICK_SECONDS) / TICK_SECONDS));
      const held = part !== document.activeElement && part.contains(document.activeElement);
      if (ticks % every === 0 && !held) htmx.trigger(part, "portal:tick");
    }
  }, TICK_SECONDS * 1000);

  // The serial output stays at its end, unless the reader scrolled up.
  const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  const toEnd = (box) => { box.scrollTop = box.scrollHeight; };
  on("htmx:beforeSwap", (event) => {
    const box = event.target.closest?.("[data-follow]");
    if (box) box.dataset.follow = atEnd(box) ? "end" : "stay";
  });
  on("htmx:afterSettle", (event) => {
    const box = event.target.closest?.("[data-follow]");
    if (box && box.dataset.follow !== "stay") toEnd(box);
    refreshTimes(event.target);
  });

  // --- copying ------------------------------------------------------------------------------------------------------------
  on("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("copied");
    const announce = document.querySelector("[data-announce]");
    if (announce) announce.textContent = button.dataset.copied ?? "";
    setTimeout(() => button.classList.remove("copied"), 1600);
  });

  // --- the theme changes at once; the server keeps the choice ---------------------------------------------------------------
  on("submit", (event) => {
    const form = event.target.closest?.("[data-theme-choice]");
    if (!form || !event.submitter) return;
    event.preventDefault();
    const theme = event.submitter.value;
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === event.submitter));
    const body = new FormData(form, event.submitter);
    fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
  });

  // --- forms: one send a form; a custom shape shows its fields -----------------------------------------------------------------
  on("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.hasAttribute("hx-post") || form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", (event) => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    if (event.persisted && document.body.dataset.project) location.reload();
  });

  // A script may be lost on its way (a VM's new interface on this very machine changes the network under the browser):
  // ask again until it is there. One that is there is not run twice.
  const load = (script, wait = 500) =>
    import(script.src).catch(() => setTimeout(load, wait, script, Math.min(2 * wait, 15_000)));

  const start = () => {
    for (const script of document.querySelectorAll("script[type=module]")) load(script);
    for (const box of document.querySelectorAll("[data-follow]")) toEnd(box);
    // On a narrow screen the tab of this page may be beyond the edge.
    for (const row of document.querySelectorAll(".tabs, .subtabs__row")) {
      const here = row.querySelector("[aria-current]");
      if (here) row.scrollLeft = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
    }
    document.querySelector("[data-focus]")?.focus();
    document.querySelector("[data-select]:focus")?.select();
    refreshTimes();
  };
  if (document.readyState === "loading") on("DOMContentLoaded", start);
  else start();
})();
