// Sends a photo that is dropped, pasted or chosen, and opens the page that shows its faces.
"use strict";

const place = document.body.dataset.uploads;
const said = document.getElementById("said");
const dropping = document.getElementById("dropping");
const chooser = document.getElementById("photo");

function say(text, wrong) {
  if (!said) return;
  said.textContent = text;
  said.classList.toggle("wrong", Boolean(wrong));
}

async function send(photo) {
  if (!place || !photo) return;
  say("Looking for faces...");
  try {
    const name = encodeURIComponent(photo.name || "");
    const answer = await fetch(`${place}?name=${name}`, { method: "POST", body: photo });
    const told = answer.headers.get("content-type")?.includes("json") ? await answer.json() : null;
    if (!told) {
      say(`A proxy in front of the server refuses the photo (${answer.status}).`, true);
    } else if (!answer.ok) {
      say(`${told.error} ${told.hint}`, true);
    } else {
      window.location.assign(told.address);
    }
  } catch {
    say("The server does not answer: is `facesearch serve` still running?", true);
  }
  if (chooser) chooser.value = "";
}

const photoOf = (data) => [...(data?.files ?? [])].find((file) => file.size > 0);
const holdsFile = (data) => [...(data?.types ?? [])].includes("Files");

if (place) {
  chooser?.addEventListener("change", () => send(chooser.files[0]));
  document.addEventListener("paste", (event) => {
    const photo = photoOf(event.clipboardData);
    if (photo) send(photo);
  });
  document.addEventListener("dragover", (event) => {
    if (!holdsFile(event.dataTransfer)) return;
    event.preventDefault();
    dropping.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) dropping.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    dropping.hidden = true;
    if (!holdsFile(event.dataTransfer)) return;
    event.preventDefault();
    send(photoOf(event.dataTransfer));
  });
}

// A picture that cannot be loaded (the photo is gone) leaves its place empty, not a broken image.
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.classList.add("gone");
}, true);

// Faces are selected: shift selects all between, and the bar of actions shows only while some are.
document.documentElement.classList.add("scripted");
const selecting = document.querySelector(".selecting");
if (selecting) {
  const bar = selecting.querySelector(".actions");
  const boxes = [...selecting.querySelectorAll("input[name=face]")];
  const many = () => {
    const count = boxes.filter((box) => box.checked).length;
    if (!bar) return;
    bar.classList.toggle("ready", count > 0);
    bar.querySelector(".count").textContent = count ? `${count} selected` : "";
  };
  let last = null;
  selecting.addEventListener("click", (event) => {
    const box = event.target.closest?.("input[name=face]");
    if (!box) return;
    if (event.shiftKey && last) {
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
      boxes.slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
    }
    last = box;
    many();
  });
  window.addEventListener("pageshow", many);
  // Enter says to whom, and does nothing else.
  selecting.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    if (event.target.id === "to" && event.target.value.trim()) selecting.querySelector("[value=move]").click();
  });
}

// The photos are looked through with the arrow keys; Escape goes back to all of them.
document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
  const places = { ArrowLeft: ".through [rel=prev]", ArrowRight: ".through [rel=next]", Escape: ".through a" };
  document.querySelector(places[event.key] ?? "#nothing")?.click();
});

document.querySelectorAll(".listing select").forEach((choice) => {
  choice.addEventListener("change", () => choice.form.requestSubmit());
});

// What was done is said once, not again when the page is loaded again.
if (document.querySelector(".toast")) {
  const here = new URL(window.location.href);
  for (const name of ["did", "undone"]) here.searchParams.delete(name);
  window.history.replaceState(null, "", here);
}
