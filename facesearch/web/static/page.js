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
    const told = await answer.json();
    if (!answer.ok) {
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
