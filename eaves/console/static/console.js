"use strict";
// The pages work without this file. It keeps ages current, shows events in a dialog, and keeps the first screen calm.
(() => {
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
    const tries = Number(image.dataset.missing || 0) + 1;
    image.dataset.missing = tries;
    if (tries <= 3 && image.closest("#live")) setTimeout(() => { image.src = image.src; }, 600 * 3 ** (tries - 1));
  };
  document.addEventListener("error", event => { if (event.target instanceof HTMLImageElement) miss(event.target); }, true);
  document.addEventListener("load", event => { event.target.removeAttribute?.("data-missing"); }, true);
  for (const image of document.images) if (image.complete && !image.naturalWidth) miss(image);

  // A hidden tab asks for nothing, and asks at once when it is seen again
  document.addEventListener("htmx:before:request", event => {
    if (document.hidden && event.target.matches("[hx-trigger^=every]")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", () => {
    for (const one of document.querySelectorAll("[hx-trigger^=every]")) htmx.trigger(one, "every");
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
    dialog.addEventListener("close", () => { find("dialog-body").replaceChildren(); ask(); });
  }

  // The first screen: nothing moves while a person reads further down or has a dialog open
  const live = find("live"), more = find("new-rows");
  let tag = "", newest = 0;
  const say = text => { const state = find("live-state"); if (state && state.textContent !== text) state.textContent = text; };
  const isBusy = () => dialog?.open || find("newest").getBoundingClientRect().top < -40;
  const ask = () => { if (live && !more.hidden && !isBusy()) htmx.trigger(live, "every"); };
  const seqOf = row => Number(row.id.slice("event-".length));
  const mark = () => {
    const rows = [...live.querySelectorAll("#newest > [id]")];
    if (newest) for (const row of rows) if (seqOf(row) > newest) row.classList.add("fresh");
    newest = Math.max(newest, ...rows.map(seqOf));
  };
  if (live) {
    mark();
    live.addEventListener("htmx:config:request", event => { if (tag) event.detail.ctx.request.headers["If-None-Match"] = tag; });
    live.addEventListener("htmx:after:request", event => {
      const {response, text} = event.detail.ctx;
      say("Updated every 2 seconds");
      if (response.status !== 200) return;
      if (isBusy()) {
        const count = [...text.matchAll(/id="event-([0-9]+)"/g)].filter(found => Number(found[1]) > newest).length;
        more.textContent = `Show ${count} new image${count === 1 ? "" : "s"}`;
        more.hidden = !count;
        event.preventDefault();
      } else tag = response.headers.get("ETag");
    });
    live.addEventListener("htmx:after:swap", () => { more.hidden = true; mark(); renew(); });
    live.addEventListener("htmx:error", () => say(`Not connected. This is what was known at ${new Date(Date.now() + ahead).toLocaleTimeString("en-GB")}.`));
    more.addEventListener("click", () => {
      find("newest-title").scrollIntoView();
      ask();
      document.querySelector("#newest a[data-dialog]")?.focus({preventScroll: true});
    });
    document.addEventListener("scroll", ask, {passive: true});
  }
})();
