// The page Labels. Without this file, forms label one photo at a time. With it a key labels a photo or a pile and the
// next picture is there at once: it was loaded before. A label counts as saved only after the console's answer.
const find = (id) => document.getElementById(id);
const make = (tag, values = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
};
const desk = find("desk"), panel = find("panel"), stage = find("stage");
const token = document.querySelector("input[name=csrf_token]")?.value ?? "";
const readOnly = !find("choices");
const NOT_USABLE = desk?.dataset.notUsable, AHEAD = 8;
let who = desk?.dataset.who ?? "", last = desk?.dataset.last ?? ""; // last: the action that an undo takes back, once

for (const one of document.querySelectorAll("[data-script]")) one.hidden = false;

const say = (text, failed = false) => {
  const state = find("state") ?? find("add-state");
  state.textContent = text;
  state.dataset.state = failed ? "failed" : "";
};

// Requests
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ask = async (path, body) => { // [status, answer]
  const response = await fetch(`/labels/${path}`, { method: "POST", headers: { "X-CSRF-Token": token }, body });
  if (response.status === 401) location.reload(); // the login has ended
  return [response.status, await response.json().catch(() => ({ message: `The console refused it (${response.status}).` }))];
};
const fields = (values) => new URLSearchParams(Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));
const insist = async (path, body) => { // goes on until the console answers, as a console that ends is started again
  for (;;) {
    try { return await ask(path, body); } catch {
      say(`The console doesn't answer, so ${waiting} ${waiting === 1 ? "change isn't" : "changes aren't"} saved yet. Trying again…`, true);
      await pause(1000);
    }
  }
};
let chain = Promise.resolve(), waiting = 0;
const wait = (more) => { waiting += more; desk.dataset.waiting = waiting; };
const enqueue = (work) => { // one after the other, in the order of the keys
  wait(1);
  chain = chain.then(work).catch((error) => say(String(error), true)).finally(() => wait(-1));
  return chain;
};
addEventListener("beforeunload", (event) => { if (waiting) event.preventDefault(); });

// Photos and tiles: the photos of a pile that have the same label are one tile
const photos = new Map(), kept = new Map(), preloaded = new Map();
let tiles = [], at = 0, shows = "", saved = 0, isGrid = false, stamp = panel.firstElementChild.dataset.stamp;
const address = (file, query = "") => `/labels/photos/${file.split("/").map(encodeURIComponent).join("/")}${query}`;
const store = ([file, label, guess, margin, pile, doubt, gain]) => {
  const alone = photos.get(file)?.alone;
  photos.set(file, { file, label, guess, margin: margin ?? Infinity, pile: alone ? null : pile, doubt, gain, alone, audit: file.startsWith("audit/") });
};
const group = (list) => {
  const found = new Map();
  for (const one of list) {
    const key = one.pile === null ? one.file : `/${one.pile}/${one.label}`;
    const tile = found.get(key) ?? { files: [], label: one.label, guess: one.guess, best: -1, margin: Infinity, doubt: one.doubt, gain: one.gain, audit: one.audit };
    tile.files.push(one.file);
    if (one.margin > tile.best && one.guess) { tile.best = one.margin; tile.guess = one.guess; }
    tile.margin = Math.min(tile.margin, one.margin);
    found.set(key, tile);
  }
  return [...found.values()];
};
const SELECT = {
  "": (one) => !one.label, all: () => true, doubts: (one) => one.doubt !== null, harmful: (one) => one.gain !== null,
};
const least = (a, b) => (a.label !== "") - (b.label !== "") || b.audit - a.audit || a.margin - b.margin || b.files.length - a.files.length;
const ORDER = { doubts: (a, b) => a.doubt - b.doubt, harmful: (a, b) => b.gain - a.gain };
const arrange = (again, file = "") => { // again: what was shown so far stays, and the rest is put in order
  const done = again ? tiles.filter((tile, index) => index <= at || tile.state === "saving") : [];
  const gone = new Set(done.flatMap((tile) => tile.files));
  const select = SELECT[shows] ?? ((one) => one.label === shows.slice(3));
  const rest = [...photos.values()].filter((one) => !gone.has(one.file) && select(one));
  tiles = [...done, ...group(rest).sort(ORDER[shows] ?? least)];
  if (!again) at = Math.max(0, tiles.findIndex((tile) => tile.files.includes(file)));
  kept.clear();
  draw();
};
const load = async () => {
  let after = "";
  do {
    const response = await fetch(`/labels/rows?after=${encodeURIComponent(after)}`);
    const page = await response.json();
    page.rows.forEach(store);
    after = page.after;
    if (!tiles.length && after) arrange(false);
  } while (after);
  arrange(tiles.length > 0 && shows === "", tiles[at]?.files[0]);
  count();
};

// One photo
const preload = (file) => {
  const known = preloaded.get(file);
  if (known) return known;
  const image = make("img", { src: address(file), alt: file });
  image.decode().catch(() => {});
  preloaded.set(file, image);
  return image;
};
const count = () => {
  const done = [...photos.values()].reduce((sum, one) => sum + (one.label !== ""), 0);
  find("count").textContent = `${done.toLocaleString("en")} of ${photos.size.toLocaleString("en")} photo${photos.size === 1 ? "" : "s"} labelled`;
  Object.assign(find("done"), { max: photos.size, value: done });
};
const describe = (tile) => {
  const name = tile.files.length > 1 ? `${tile.files[0]} and ${tile.files.length - 1} more that look like it` : tile.files[0];
  if (tile.doubt !== null && shows === "doubts") return `${name}. The model takes it for ${tile.guess}.`;
  if (tile.gain !== null && shows === "harmful") return `${name}. The others are predicted better without it.`;
  return tile.audit ? `${name}. Audit: it judges models, and is never trained on.` : name;
};
const mark = (element, tile) => {
  element.textContent = tile.label && tile.state === "saving" ? `${tile.label}…` : tile.label;
  element.hidden = !tile.label;
  element.dataset.state = tile.state ?? "";
};
const drawSingle = (tile) => {
  const near = new Set(tiles.slice(Math.max(0, at - 1), at + 1 + AHEAD).map((one) => one.files[0]));
  for (const file of preloaded.keys()) if (!near.has(file)) preloaded.delete(file);
  if (tile) find("picture").replaceChildren(preload(tile.files[0]));
  else find("picture").replaceChildren(make("p", { className: "shot-empty", textContent: shows ? "No photo is in this list." : "Every photo has a label. Choose All photos to look at them again, or train a model below." }));
  near.forEach(preload);
  find("caption").textContent = tile ? describe(tile) : "";
  mark(find("mark"), tile ?? { label: "" });
  const pile = find("pile"), shown = tile && tile.files.length > 1 ? tile.files.slice(1, 61) : [];
  pile.hidden = !shown.length;
  pile.replaceChildren(...shown.map((file) => {
    const button = make("button", { type: "button", title: "Take this photo out of the pile" }, make("img", { src: address(file, "?small"), alt: `${file}: take it out of the pile` }));
    button.addEventListener("click", () => takeOut(tile, file));
    return make("li", {}, button);
  }));
};
const takeOut = (tile, file) => {
  const photo = photos.get(file);
  Object.assign(photo, { alone: true, pile: null });
  tile.files = tile.files.filter((one) => one !== file);
  tiles.splice(at + 1, 0, ...group([photo]));
  kept.clear();
  draw();
  stage.focus({ preventScroll: true });
};

// The grid has elements for what is in sight only
const TILE = 152, HEIGHT = 160;
const columns = () => Math.max(2, Math.floor(find("grid").clientWidth / TILE));
const drawTile = (tile, index, wide) => {
  let one = kept.get(index);
  if (!one) {
    one = make("div", { className: "tile-photo", id: `tile-${index}` }, make("img", { src: address(tile.files[0], "?small"), alt: "", decoding: "async" }), make("p", {}, make("b"), make("span")));
    one.setAttribute("role", "option");
    one.setAttribute("aria-posinset", index + 1);
    one.addEventListener("click", () => { if (at === index) toggle(false); else go(index); });
    one.style.width = `${100 / wide}%`;
    one.style.height = `${HEIGHT}px`;
    one.style.transform = `translate(${100 * (index % wide)}%, ${HEIGHT * Math.floor(index / wide)}px)`;
    kept.set(index, one);
    find("tiles").append(one);
  }
  one.setAttribute("aria-selected", index === at);
  one.setAttribute("aria-setsize", tiles.length);
  const [text, size] = one.lastElementChild.children;
  mark(text, tile);
  text.className = tile.label ? "" : "guess";
  if (!tile.label && tile.guess) { text.textContent = `${tile.guess}?`; text.hidden = false; }
  size.textContent = tile.files.length > 1 ? `×${tile.files.length}` : tile.audit ? "audit" : "";
  one.setAttribute("aria-label", `${describe(tile)}: ${tile.label || (tile.guess ? `perhaps ${tile.guess}` : "no label")}`);
};
const drawGrid = () => {
  const grid = find("grid"), wide = columns();
  find("tiles").style.height = `${Math.ceil(tiles.length / wide) * HEIGHT}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / HEIGHT) - 1) * wide;
  const last = Math.min(tiles.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / HEIGHT) + 1) * wide);
  if (!kept.size) find("tiles").replaceChildren();
  for (const [index, one] of kept) if (index < first || index >= last) { one.remove(); kept.delete(index); }
  for (let index = first; index < last; index += 1) drawTile(tiles[index], index, wide);
  if (kept.has(at)) grid.setAttribute("aria-activedescendant", `tile-${at}`);
  else grid.removeAttribute("aria-activedescendant");
};
const reveal = () => {
  const grid = find("grid"), top = Math.floor(at / columns()) * HEIGHT;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + HEIGHT > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + HEIGHT - grid.clientHeight;
};
const toggle = (grid) => {
  isGrid = grid;
  find("single").hidden = grid;
  find("grid").hidden = !grid;
  find("view").setAttribute("aria-pressed", grid);
  kept.clear();
  if (grid) reveal();
  draw();
  (grid ? find("grid") : stage).focus({ preventScroll: true });
};

const draw = () => {
  const tile = tiles[at];
  if (isGrid) drawGrid(); else drawSingle(tile);
  if (readOnly || !find("agree")) return;
  const agree = find("agree");
  agree.hidden = !tile?.guess;
  agree.value = tile?.guess ?? "";
  agree.lastElementChild.textContent = `Agree: ${agree.value}`;
  for (const one of find("choices").querySelectorAll(".choice[name=label]:not(#agree)")) one.setAttribute("aria-pressed", Boolean(tile) && one.value === tile.label);
};
const go = (index) => {
  at = Math.max(0, Math.min(index, tiles.length - 1));
  if (isGrid) reveal();
  draw();
};
const advance = (wasNew) => {
  if (!wasNew) { go(at + 1); return; }
  const next = tiles.findIndex((tile, index) => index > at && !tile.label);
  const other = next < 0 ? tiles.findIndex((tile) => !tile.label) : next;
  if (other >= 0) go(other);
  else { draw(); say("Every photo of this list has a label. Train a model below, or choose another list."); }
};

// Labels
const put = (label, tile = tiles[at], before = tile?.label) => {
  if (readOnly || !tile) return;
  if (!who) { askName(() => put(label, tile, before)); return; }
  Object.assign(tile, { label, state: "saving" });
  enqueue(() => save(tile, label, before));
  if (tile === tiles[at]) advance(before === "");
};
const settle = (tile, label) => {
  for (const file of tile.files) photos.get(file).label = label;
  if (tile.label === label) tile.state = "saved";
};
const save = async (tile, label, before) => {
  const [status, answer] = await insist("put", fields({ file: tile.files, label, before }));
  const others = Object.values(answer.conflicts ?? {});
  if (status === 200) {
    last = answer.last;
    settle(tile, label);
    say(`Saved: ${label}, ${describe(tile)}`);
    saved += 1;
    if (saved % 5 === 0) renew();
  } else {
    Object.assign(tile, { label: before, state: "" });
    if (others.length) contest(tile, label, others[0]);
    else say(`Not saved: ${answer.message}${answer.fix ? ` ${answer.fix}` : ""}`, true);
  }
  count();
  draw();
};
const contest = (tile, mine, other) => {
  const list = find("conflicts"), theirs = other.label || "no label";
  settle(tile, other.label);
  tile.label = other.label;
  const line = make("p", {}, make("span", { textContent: `${other.who || "Somebody"} has said ${theirs} for ${describe(tile)} meanwhile, and you say ${mine}.` }));
  const offer = (text, act) => {
    const button = make("button", { type: "button", textContent: text });
    button.addEventListener("click", () => { line.remove(); list.hidden = !list.children.length; act(); stage.focus(); });
    line.append(button);
  };
  offer(`Keep ${theirs}`, () => {});
  offer(`Say ${mine}`, () => put(mine, tile));
  list.append(line);
  list.hidden = false;
};
const undo = () => enqueue(async () => {
  const [status, answer] = await insist("undo", fields({ who, last }));
  if (status !== 200) { say(`Nothing was undone: ${answer.message}`, true); return; }
  last = answer.last;
  const files = Object.keys(answer.labels ?? {});
  if (!files.length) { say("There is nothing to undo."); return; }
  for (const file of files) if (photos.has(file)) photos.get(file).label = answer.labels[file];
  let index = tiles.findIndex((tile) => tile.files.includes(files[0]));
  if (index < 0) { index = at; tiles.splice(at, 0, ...group(files.map((file) => photos.get(file)).filter(Boolean))); kept.clear(); }
  Object.assign(tiles[index], { label: answer.labels[files[0]], state: "" });
  count();
  go(index);
  say(`Undone: ${describe(tiles[index])} ${tiles[index].label ? `is ${tiles[index].label} again` : "has no label again"}.`);
});
let pending = null;
const askName = (then) => {
  pending = then;
  find("who").open = true;
  find("who-name").focus();
  say("Write your name first; it is saved with each label.");
};

// Classes
const nameClasses = async (form) => {
  if (!who) { askName(() => nameClasses(form)); return; }
  const [status, answer] = await insist("classes", fields({ names: form.elements.names.value }));
  if (status !== 200) { say(answer.message, true); return; }
  if (!find("classes")) { location.reload(); return; }
  const list = find("classes"), known = new Set([...list.children].map((one) => one.value));
  for (const name of answer.classes.filter((one) => !known.has(one))) { // behind the others, as keys keep their meaning
    const number = list.children.length + 1, button = make("button", { className: "choice", name: "label", value: name });
    if (number <= 10) button.append(make("kbd", { textContent: number % 10 }), " ");
    button.append(make("span", { textContent: name }));
    list.append(button);
  }
  form.reset();
  draw();
  stage.focus();
};

// The part of the page that tells what the labels are worth, and which is stamped with what the list is made of
const renew = () => htmx.trigger(panel, "renew");
const review = async () => {
  if (!readOnly) await ask("jobs/review", new FormData()).then(renew, () => {});
};
document.addEventListener("htmx:after:swap", () => {
  const found = panel.firstElementChild?.dataset.stamp;
  if (found !== stamp && !desk) location.reload();
  else if (found !== stamp) load().catch(() => {});
  stamp = found;
  if (panel.querySelector("[data-stale]")) review();
});
setInterval(() => { if (!document.hidden && panel.querySelector("[data-running]")) renew(); }, 2000);

// Keys act unless the focus is in a field or in another part of the page; a click beside all parts focuses main. Source: WCAG 2.2, 2.1.4 (they can be turned off)
const choose = (number) => { const one = find("classes")?.children[(number + 9) % 10]; if (one) put(one.value); };
const agree = () => { const guess = tiles[at]?.guess; if (guess) put(guess); };
const KEYS = {
  Enter: agree, a: agree, d: () => put(NOT_USABLE), u: undo, g: () => toggle(!isGrid),
  n: () => find("class-names")?.focus(), "?": () => find("help").click(),
  ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1),
  ArrowDown: () => go(at + (isGrid ? columns() : 1)), ArrowUp: () => go(at - (isGrid ? columns() : 1)),
};
const press = (event) => {
  const focused = document.activeElement, { key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !find("keys-on").checked) return;
  if (!focused.matches("body, main") && !desk.contains(focused)) return;
  if (focused.matches("input, select")) { if (key === "Escape") stage.focus(); return; }
  if (key === "Enter" && focused.matches("button, a")) return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code), action = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!action && (!digit || event.shiftKey)) return;
  event.preventDefault();
  if (event.repeat && !key.startsWith("Arrow")) return;
  if (action) action(); else choose(Number(digit[1]));
};
const onSubmit = (form, act) => form?.addEventListener("submit", (event) => { event.preventDefault(); act(event); });

if (desk) {
  document.addEventListener("keydown", press);
  find("view").addEventListener("click", () => toggle(!isGrid));
  find("help").addEventListener("click", () => {
    find("keys").hidden = !find("keys").hidden;
    find("help").setAttribute("aria-expanded", !find("keys").hidden);
  });
  find("show").addEventListener("change", () => { shows = find("show").value; arrange(false); stage.focus(); });
  find("grid").addEventListener("scroll", () => requestAnimationFrame(() => { if (isGrid) drawGrid(); }), { passive: true });
  new ResizeObserver(() => { if (isGrid) { kept.clear(); drawGrid(); } }).observe(find("grid"));
  find("back")?.addEventListener("click", () => go(at - 1));
  find("next")?.addEventListener("click", () => go(at + 1));
  onSubmit(find("choices"), ({ submitter }) => {
    if (submitter.id === "undo") undo(); else put(submitter.value);
    if (!isGrid) stage.focus({ preventScroll: true });
  });
  onSubmit(find("class-form"), ({ target }) => nameClasses(target));
  onSubmit(find("who-form"), async ({ target }) => {
    const [status, answer] = await insist("who", new FormData(target));
    if (status !== 200) { say(answer.message, true); return; }
    ({ who, last } = answer);
    find("who").open = false;
    find("who").firstElementChild.replaceChildren("Labels are saved with the name ", make("b", { textContent: who }));
    stage.focus();
    say("");
    pending?.();
    pending = null;
  });
  load().then(() => { wait(0); if (panel.querySelector("[data-stale]")) review(); }, () => say("The list of photos can't be loaded. Load the page again.", true));
  if (!readOnly && !find("classes")) find("class-names").focus({ preventScroll: true });
}

// Photos that come in
const drop = find("drop"), addForm = find("add-form");
const add = async (files) => {
  const chosen = [...files].filter((file) => file.size && (file.type.startsWith("image/") || /\.(bmp|gif|jpe?g|png|tiff?|webp)$/i.test(file.name)));
  const state = find("add-state"), refused = [], most = Number(addForm.dataset.maxBytes) - 100_000;
  const added = new Set(), known = new Set();
  const describeAdded = () => `${added.size} photo${added.size === 1 ? " is" : "s are"} added${known.size ? `, ${known.size} of them were here before` : ""}`;
  while (chosen.length) {
    const body = new FormData();
    for (let size = 0, taken = 0; chosen.length && taken < 20 && (!taken || size + chosen[0].size < 8e6); taken += 1) {
      const file = chosen.shift();
      size += file.size;
      if (file.size > most) refused.push(`${file.name} is too large`); else body.append("photo", file, file.name);
    }
    const [status, answer] = await ask("photos", body).catch(() => [0, { message: "The console doesn't answer." }]);
    if (status !== 200) { state.textContent = `Not added: ${answer.message}`; return; }
    for (const file of answer.added) { added.add(file); if (photos.has(file)) known.add(file); }
    refused.push(...answer.refused);
    state.textContent = `${describeAdded()}, ${chosen.length} are on their way.`;
  }
  state.textContent = `${describeAdded()}.${refused.length ? ` Not added: ${refused.slice(0, 5).join("; ")}${refused.length > 5 ? "…" : ""}` : ""}`;
  if (!added.size) return;
  if (!desk) { location.reload(); return; }
  await load();
  review();
};
const walk = async (entry) => {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return found;
    for (const one of part) found.push(...await walk(one));
  }
};
if (addForm) {
  onSubmit(addForm, () => {
    add([...find("photos").files, ...find("photo-folder").files]);
    addForm.reset();
  });
  for (const id of ["photos", "photo-folder"]) find(id).addEventListener("change", () => { if (find(id).files.length) addForm.requestSubmit(); });
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      drop.classList.add("drop-over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("drop-over"); });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("drop-over");
    const entries = [...event.dataTransfer.items].map((one) => one.webkitGetAsEntry?.()), files = [...event.dataTransfer.files];
    const isFolder = entries.some((one) => one?.isDirectory);
    add(isFolder ? (await Promise.all(entries.filter(Boolean).map(walk))).flat() : files);
  });
}
