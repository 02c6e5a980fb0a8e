/* The command palette (Ctrl/Cmd K), single keys, and ticking rows. Every one of them has a link that does the same. */
"use strict";

(() => {
  const OFF = "vmportal.single-keys";
  const SEQUENCE_MS = 1200;
  const palette = document.getElementById("palette");
  const keys = document.getElementById("keys");
  const goto = document.getElementById("goto");
  const input = document.getElementById("palette-q");
  const found = document.getElementById("palette-found");

  // --- the palette ----------------------------------------------------------------------------------------------
  const hits = () => [...found.querySelectorAll("[data-hit]")];
  const open = () => {
    if (!palette || palette.open || document.querySelector("dialog[open]")) return;
    palette.showModal();
    input.focus();
    input.select();
    htmx.trigger(input, "palette:open");
  };
  const step = (by) => {
    const all = hits();
    const at = all.indexOf(document.activeElement);
    const next = at + by;
    if (next < 0 || all.length === 0) input.focus();
    else all[Math.min(next, all.length - 1)].focus();
  };
  palette?.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && document.activeElement === input) {
      event.preventDefault();
      const first = hits()[0];
      if (first) first.click();
    } else if (event.key.length === 1 && document.activeElement !== input && !event.ctrlKey && !event.metaKey) {
      input.focus(); // typing goes on where it was
    }
  });

  // A later answer replaces the list under the hand: the choice stays on the same hit, or goes back to the field.
  let chosen = null;
  found?.addEventListener("htmx:beforeSwap", () => {
    chosen = found.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  });
  found?.addEventListener("htmx:afterSwap", () => {
    if (chosen !== null) (hits().find((one) => one.getAttribute("href") === chosen) ?? input).focus();
  });

  // Until the next frame a closed dialog keeps the focus: it is given back, and a key pressed even before is the page's.
  for (const dialog of [palette, keys]) {
    dialog?.addEventListener("close", () => dialog.contains(document.activeElement) && document.activeElement.blur());
  }

  document.addEventListener("click", (event) => {
    if (event.target === palette || event.target === keys) event.target.close();
    const target = event.target.closest?.("[data-palette-open], [data-close-dialog]");
    if (!target) return;
    if (target.matches("[data-close-dialog]")) target.closest("dialog").close();
    else if (!event.ctrlKey && !event.metaKey && palette) {
      event.preventDefault();
      open();
    }
  });

  // --- keys -----------------------------------------------------------------------------------------------------
  const singleKeys = () => localStorage.getItem(OFF) !== "off";
  const box = document.querySelector("[data-keys-on]");
  if (box) {
    box.checked = singleKeys();
    box.addEventListener("change", () => localStorage.setItem(OFF, box.checked ? "on" : "off"));
  }
  const FIELDS = "input, textarea, select, [contenteditable], [role=textbox], .xterm, canvas";
  const writes = (element) => element?.closest?.(FIELDS) && !element.closest("dialog:not([open])");
  let leader = -Infinity;
  const go = (url) => { if (url) location.assign(url); };

  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k" && !event.target.closest?.(".xterm, canvas")) {
      event.preventDefault();
      if (palette?.open) palette.close();
      else open();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !singleKeys() || writes(event.target) || document.querySelector("dialog[open]")) return;
    const after = performance.now() - leader < SEQUENCE_MS;
    leader = -Infinity;
    if (after) return go(goto?.getAttribute(`data-goto-${event.key}`));
    if (event.key === "g") leader = performance.now();
    else if (event.key === "c") go(goto?.dataset.create);
    else if (event.key === "?") keys?.showModal();
    else if (event.key === "/") {
      const search = document.querySelector("main input[type=search]");
      event.preventDefault();
      if (search) search.focus();
      else open();
    }
  });

  // --- ticking rows -----------------------------------------------------------------------------------------------
  const boxes = () => [...document.querySelectorAll("#vms tbody .vms__pick input")];
  const count = () => {
    const all = boxes();
    const picked = all.filter((one) => one.checked).length;
    for (const place of document.querySelectorAll("[data-picked]")) place.textContent = picked || "";
    for (const every of document.querySelectorAll("[data-pick-all]")) {
      every.checked = picked > 0 && picked === all.length;
      every.indeterminate = picked > 0 && picked < all.length;
    }
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) for (const one of boxes()) one.checked = event.target.checked;
    if (event.target.closest(".vms__pick")) count();
  });
  document.addEventListener("htmx:afterSettle", count);
  addEventListener("pageshow", count);
})();
