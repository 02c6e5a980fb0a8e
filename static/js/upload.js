/* Sends a file in pieces. The server says how much has come; a piece that fails is sent again from there.
 *
 * A form with data-upload announces the upload with its other fields, then goes on as one with data-upload-resume
 * does. Without this script the form sends everything at once.
 */
(() => {
  "use strict";
  const PIECE_BYTES = 8 * 1024 * 1024;
  const AGAIN_MS = [1_000, 30_000];
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const shower = (form) => {
    const box = form.querySelector("[data-upload-status]");
    const text = box.querySelector("[role=status]");
    const bar = box.querySelector("progress");
    const say = (words) => {
      box.hidden = false;
      if (text.textContent !== words) text.textContent = words;
    };
    return {
      words: box.dataset,
      say,
      at(done, size) {
        const percent = size ? Math.floor((done * 100) / size) : 100;
        bar.value = percent;
        say(`${box.dataset.textSending} ${percent} %`);
      },
    };
  };

  const send = async (form, file, url, page) => {
    const show = shower(form);
    const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
    const headers = { Accept: "application/json" };
    let offset = null;
    let wait = AGAIN_MS[0];
    for (;;) {
      try {
        if (offset === null) {
          const asked = await (await fetch(url, { headers, cache: "no-store" })).json();
          if (!asked.open) break;
          offset = asked.offset;
        }
        show.at(offset, file.size);
        const response = await fetch(`${url}?offset=${offset}`, {
          method: "POST",
          headers: { ...headers, "X-CSRFToken": token, "Content-Type": "application/octet-stream" },
          body: file.slice(offset, offset + PIECE_BYTES),
        });
        const answer = await response.json();
        if (answer.error && response.status < 500) {
          show.say(answer.error);
          return;
        }
        offset = answer.offset;
        wait = AGAIN_MS[0];
        if (offset >= file.size) break;
      } catch {
        offset = null;
        show.say(show.words.textWaiting);
        await pause(wait);
        wait = Math.min(wait * 2, AGAIN_MS[1]);
      }
    }
    location.assign(page);
  };

  const announce = async (form, file) => {
    const body = new FormData(form);
    body.delete("file");
    body.set("upload_size", file.size);
    const response = await fetch(form.action || location.href, { method: "POST", headers: { Accept: "application/json" }, body });
    const answer = await response.json();
    if (response.status === 201) {
      await send(form, file, answer.piece, answer.page);
      return;
    }
    const words = Object.values(answer.errors ?? {}).flat();
    shower(form).say(words.join(" "));
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const file = form.querySelector?.("input[type=file]")?.files[0];
    if (!file || !(form.hasAttribute("data-upload") || form.dataset.uploadResume)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (form.hasAttribute("data-upload")) {
      announce(form, file).catch(() => shower(form).say(shower(form).words.textWaiting));
    } else if (form.dataset.size && Number(form.dataset.size) !== file.size) {
      const show = shower(form);
      show.say(show.words.textOther);
    } else {
      send(form, file, form.dataset.uploadResume, location.href);
    }
  }, true);
})();
