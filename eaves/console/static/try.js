"use strict";
// Try it without this file: the form sends its photos and the server answers with the whole page. With it, photos can be
// dropped, pasted or taken from the live camera, they are sent one after the other, and answers appear above older ones.
(() => {
  const form = document.getElementById("try");
  if (!form) return;
  const find = (id) => document.getElementById(id);
  const results = find("results"), state = find("try-state"), drop = find("drop");
  const maxBytes = Number(form.dataset.maxBytes) - 100_000; // the form around the photo
  const waiting = [];
  let busy = false;

  for (const hint of form.querySelectorAll("[data-script]")) hint.hidden = false;

  const say = (text) => { state.textContent = text; };

  const show = (html, photo) => {
    find("results-title").hidden = false;
    // The server escaped all foreign text; DOMParser runs no script.
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const frame = document.createElement("span"), picture = new Image(), article = parsed.body.firstElementChild;
    const boxes = article.querySelector(".boxes"); // they lie over the photo
    frame.className = boxes ? "picture picture-boxed" : "picture";
    frame.append(picture, ...(boxes ? [boxes] : []));
    picture.alt = photo.name;
    picture.onload = () => article.prepend(frame); // a browser shows no TIFF file
    picture.src = URL.createObjectURL(photo);
    results.prepend(...parsed.body.children);
    while (results.children.length > 40) results.lastElementChild.remove();
  };

  const fail = (title, advice) => {
    const article = document.createElement("article"), text = document.createElement("div");
    const heading = document.createElement("h3"), line = document.createElement("p");
    article.className = "result result-fault";
    text.className = "result-text";
    heading.textContent = title;
    line.textContent = advice;
    text.append(heading, line);
    article.append(text);
    find("results-title").hidden = false;
    results.prepend(article);
  };

  const send = async (photo) => {
    const fields = new FormData(form);
    fields.delete("photo");
    fields.append("photo", photo, photo.name);
    const headers = { "X-Fragment": "results", "X-CSRF-Token": form.elements.csrf_token.value };
    const answer = await fetch(form.action, { method: "POST", body: fields, headers });
    if (answer.status === 401 || answer.redirected) { location.reload(); return; } // the login has ended
    const html = await answer.text();
    if (html.includes("<article")) show(html, photo);
    else fail(`The console refused the photo (${answer.status}).`, "Reload the page and try again.");
  };

  const work = async () => {
    if (busy) return;
    busy = true;
    form.setAttribute("aria-busy", "true");
    while (waiting.length) {
      const photo = waiting.shift(), more = waiting.length ? `, ${waiting.length} more waiting` : "";
      say(`Asking ${find("function").value} about ${photo.name}${more}…`);
      try {
        if (photo.size > maxBytes) fail(`${photo.name} is too large.`, "Choose a smaller photo.");
        else await send(photo);
      } catch (error) {
        fail("The console can't be reached.", "Check that it runs, then try again.");
        waiting.length = 0;
      }
    }
    say("");
    form.removeAttribute("aria-busy");
    busy = false;
  };

  const add = (files) => {
    const room = 100 - waiting.length, photos = [...files].filter((file) => file.size);
    if (photos.length > room) fail(`${photos.length - room} photos were left out.`, "Try at most 100 photos at once.");
    waiting.push(...photos.slice(0, room));
    work();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (busy) return; // a second click while a photo is on its way is ignored
    const files = [...form.querySelectorAll("input[type=file]")].flatMap((input) => [...input.files]);
    if (!files.length) { say("Choose a photo first."); return; }
    add(files);
    for (const input of form.querySelectorAll("input[type=file]")) input.value = "";
  });
  find("picture").addEventListener("change", () => { if (find("picture").files.length) form.requestSubmit(); });

  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      drop.classList.add("drop-over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("drop-over"); });
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    drop.classList.remove("drop-over");
    add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData ? event.clipboardData.files : [];
    if (files.length) { event.preventDefault(); add(files); }
  });

  // The live camera: browsers give it only to pages over HTTPS and to this machine's own.
  const open = find("camera-open"), view = find("camera-view"), camera = find("camera");
  let stream = null;
  if (window.isSecureContext && navigator.mediaDevices && navigator.mediaDevices.getUserMedia) open.hidden = false;
  const close = () => {
    if (stream) for (const track of stream.getTracks()) track.stop();
    stream = view.srcObject = null;
    camera.hidden = true;
    open.hidden = false;
  };
  open.addEventListener("click", async () => {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
    } catch (error) {
      say("The camera can't be used. Allow it in the browser, or choose a photo.");
      return;
    }
    view.srcObject = stream;
    camera.hidden = false;
    open.hidden = true;
    await view.play();
    find("camera-take").focus();
  });
  find("camera-take").addEventListener("click", () => {
    if (busy || !view.videoWidth) return;
    const canvas = document.createElement("canvas");
    canvas.width = view.videoWidth;
    canvas.height = view.videoHeight;
    canvas.getContext("2d").drawImage(view, 0, 0);
    const name = `camera-${new Date().toTimeString().slice(0, 8).replaceAll(":", "")}.jpg`;
    canvas.toBlob((blob) => { if (blob) add([new File([blob], name, { type: "image/jpeg" })]); }, "image/jpeg", 0.92);
  });
  find("camera-close").addEventListener("click", () => { close(); open.focus(); });
  window.addEventListener("pagehide", close);
})();
