"use strict";
// The pages work without this file. It keeps ages current, shows events in a dialog, and keeps the first screen calm.
(() => {
  const MAX_ROWS = 50, MAX_HELD = 40;
  const UNITS = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const find = id => document.getElementById(id);
  const meta = document.querySelector('meta[name="eaves-now"]');
  const ahead = meta ? Number(meta.content) * 1000 - Date.now() : 0; // the server's clock counts, not this machine's

  // Ages
  const describe = seconds => {
    for (const [size, unit] of UNITS) {
      const count = Math.floor(seconds / size);
      if (count >= 1) return `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;
    }
    return "0 seconds";
  };
  const renew = () => {
    for (const time of document.querySelectorAll("time[data-age]")) {
      const seconds = Math.max(0, (Date.now() + ahead - Date.parse(time.dateTime)) / 1000);
      const text = time.dataset.age === "for" ? describe(seconds) : seconds < 5 ? "just now" : `${describe(seconds)} ago`;
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(() => { if (!document.hidden) renew(); }, 1000);

  // Pictures: a new image's thumbnail may be a moment later than its row
  const miss = image => {
    const picture = image.closest(".picture");
    if (!picture) return;
    const tries = Number(image.dataset.tries || 0);
    image.hidden = true;
    if (tries < 3 && image.closest(".fresh, .tile")) {
      image.dataset.tries = tries + 1;
      setTimeout(() => { image.hidden = false; image.src = image.src; }, 600 * 3 ** tries);
    } else picture.querySelector(".picture-none").hidden = false;
  };
  document.addEventListener("error", event => { if (event.target instanceof HTMLImageElement) miss(event.target); }, true);
  for (const image of document.images) if (image.complete && !image.naturalWidth) miss(image);

  // A hidden tab asks for nothing
  document.addEventListener("htmx:before:request", event => {
    if (document.hidden && event.target.matches("[hx-trigger^=every]")) event.preventDefault();
  });

  // One event in a dialog
  const dialog = find("dialog");
  document.addEventListener("click", event => {
    const link = event.target.closest("a[data-dialog]");
    if (!link || !dialog || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    htmx.ajax("GET", link.getAttribute("href"), {target: "#dialog-body", swap: "innerHTML"});
  });
  document.addEventListener("htmx:after:swap", event => {
    if (event.detail.ctx.target === find("dialog-body") && !dialog.open) dialog.showModal();
  });
  if (dialog) {
    dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", () => { find("dialog-body").replaceChildren(); release(); });
  }

  // The live list: nothing moves while a person reads further down or has a dialog open
  const stream = find("stream"), state = find("live-state"), more = find("new-rows");
  let held = [], connected = false, timer = 0;
  const say = text => { if (state && state.textContent !== text) state.textContent = text; };
  const isBusy = () => dialog?.open || (find("newest")?.getBoundingClientRect().top ?? 0) < -40;
  const refresh = () => htmx.ajax("GET", location.pathname + location.search, {target: "#live", select: "#live", swap: "outerMorph", headers: {"X-Background": "1"}});
  const show = text => htmx.swap({text, sourceElement: stream, target: stream, swap: "none swapEmpty:false"});
  const trim = () => {
    const rows = find("newest");
    while (rows && rows.children.length > MAX_ROWS) rows.lastElementChild.remove();
  };
  const offer = () => {
    const count = held.reduce((sum, text) => sum + text.split('id="event-').length - 1, 0);
    more.textContent = held.length > MAX_HELD ? "Show new images" : `Show ${count} new image${count === 1 ? "" : "s"}`;
    more.hidden = !count;
  };
  const release = async () => {
    if (!stream || !held.length || isBusy()) return;
    const messages = held;
    held = [];
    more.hidden = true;
    if (messages.length > MAX_HELD) await refresh();
    else for (const text of messages) await show(text);
    trim();
  };
  if (stream) {
    stream.addEventListener("htmx:sse:before:message", event => {
      const {data, event: name} = event.detail.message;
      if (name || !isBusy()) return;
      event.preventDefault();
      if (held.length <= MAX_HELD) held.push(data);
      offer();
    });
    stream.addEventListener("htmx:sse:after:message", () => { trim(); renew(); });
    stream.addEventListener("htmx:sse:after:connection", () => { connected = true; say("Live"); });
    for (const name of ["htmx:sse:error", "htmx:sse:close", "closing"]) stream.addEventListener(name, () => {
      connected = false;
      say(`Not connected. This is what was known at ${new Date().toLocaleTimeString("en-GB")}.`);
    });
    stream.addEventListener("crowded", () => say("Updated every few seconds"));
    stream.addEventListener("reload", () => { held = []; refresh(); });
    // A session that has ended: the page loads again, which shows the login form
    stream.addEventListener("expired", () => location.reload());
    stream.addEventListener("htmx:sse:error", event => { if (event.detail.status === 401) location.reload(); });
    // Without a stream, such as behind a proxy that has none, the page asks every 5 seconds
    stream.addEventListener("htmx:finally:request", () => {
      if (connected || timer) return;
      say("Updated every 5 seconds");
      timer = setInterval(() => { if (!document.hidden && !isBusy()) refresh(); }, 5000);
    });
    more.addEventListener("click", async () => {
      find("newest-title").scrollIntoView();
      await release();
      document.querySelector("#newest a[data-dialog]")?.focus({preventScroll: true});
    });
    document.addEventListener("scroll", () => { if (held.length) release(); }, {passive: true});
  }
})();
