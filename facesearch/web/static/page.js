// Sends the photos that are dropped, pasted or chosen, and opens the page that shows their faces.
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

const MOST = 16; // photos of one person, searched with together

// Returns what the server tells of a photo, or the sentence that says why it cannot.
async function sent(photo) {
  try {
    const name = encodeURIComponent(photo.name || "");
    const answer = await fetch(`${place}?name=${name}`, { method: "POST", body: photo });
    const told = answer.headers.get("content-type")?.includes("json") ? await answer.json() : null;
    if (!told) return `A proxy in front of the server refuses the photo (${answer.status}).`;
    return answer.ok ? told : `${told.error} ${told.hint}`;
  } catch {
    return "The server does not answer: is `facesearch serve` still running?";
  }
}

async function send(photos) {
  if (!place || !photos.length) return;
  if (photos.length > MOST) {
    say(`At most ${MOST} photos at once.`, true);
    return;
  }
  const found = [];
  let problem = "";
  for (const [at, photo] of photos.entries()) {
    say(photos.length > 1 ? `Looking for faces in photo ${at + 1} of ${photos.length}...` : "Looking for faces...");
    const told = await sent(photo);
    if (typeof told === "string") problem = told;
    else found.push(told);
  }
  const left = photos.length - found.length;
  if (!found.length) {
    say(problem, true);
  } else if (photos.length === 1) {
    window.location.assign(found[0].address);
  } else {
    const asked = new URLSearchParams(found.map((told) => ["face", `${told.upload}.1`]));
    if (left) asked.set("left", left);
    window.location.assign(`${place}/together?${asked}`);
  }
  if (chooser) chooser.value = "";
}

const photosOf = (data) => [...(data?.files ?? [])].filter((file) => file.size > 0);
const holdsFile = (data) => [...(data?.types ?? [])].includes("Files");

if (place) {
  chooser?.addEventListener("change", () => send([...chooser.files]));
  document.addEventListener("paste", (event) => send(photosOf(event.clipboardData)));
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
    send(photosOf(event.dataTransfer));
  });
}

// A picture that cannot be loaded (the photo is gone) leaves its place empty, not a broken image.
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) event.target.classList.add("gone");
}, true);

// Photos are selected: shift selects all between, and the bar of actions shows only while some are.
// On a touch screen a long press begins, dragging selects more, and a tap then selects too.
document.documentElement.classList.add("scripted");
const selecting = document.querySelector(".selecting");
if (selecting) {
  const bar = selecting.querySelector(".actions");
  const boxes = () => [...selecting.querySelectorAll(".pick input")]; // more come while one scrolls
  const boxAt = (one) => one?.closest?.(".card")?.querySelector(".pick input");
  const chosen = () => boxes().filter((box) => box.checked).length;
  const many = () => {
    const count = chosen();
    if (!bar) return;
    bar.classList.toggle("ready", count > 0);
    bar.querySelector(".count").textContent = count ? `${count} selected` : "";
    bar.querySelector("[value=cover]").hidden = count > 1;
  };
  const between = (one, other) => {
    const all = boxes();
    const [from, to] = [all.indexOf(one), all.indexOf(other)].sort((a, b) => a - b);
    return all.slice(from, to + 1);
  };
  let last = null;
  selecting.addEventListener("click", (event) => {
    const box = event.target.closest?.(".pick input");
    if (!box) return;
    if (event.shiftKey && last) between(last, box).forEach((one) => { one.checked = box.checked; });
    last = box;
    many();
  });
  window.addEventListener("pageshow", many);
  selecting.addEventListener("reset", () => window.setTimeout(many)); // once they are unchecked
  // Enter says to whom, and does nothing else.
  selecting.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    if (event.target.id === "to" && event.target.value.trim()) selecting.querySelector("[value=move]").click();
  });

  const LONG = 450; // milliseconds of a press
  const STILL = 10; // pixels that a finger may move meanwhile
  let press = null; // where a finger came down, and once it was long, what was selected before
  let tapped = false; // whether the last click came from a finger
  const release = () => {
    window.clearTimeout(press?.timer);
    press = null;
  };
  selecting.addEventListener("pointerdown", (event) => { tapped = event.pointerType === "touch"; });
  selecting.addEventListener("touchstart", (event) => {
    release();
    const box = boxAt(event.target);
    if (!box || event.touches.length > 1 || event.target.closest(".pick")) return;
    const { clientX: x, clientY: y } = event.touches[0];
    press = { x, y, box, timer: window.setTimeout(() => {
      press.before = new Map(boxes().map((one) => [one, one.checked]));
      press.to = !box.checked;
      box.checked = press.to;
      last = box;
      navigator.vibrate?.(10);
      many();
    }, LONG) };
  }, { passive: true });
  selecting.addEventListener("touchmove", (event) => {
    if (!press) return;
    const { clientX: x, clientY: y } = event.touches[0];
    if (!press.before) {
      if (Math.hypot(x - press.x, y - press.y) > STILL) release(); // it scrolls
      return;
    }
    event.preventDefault();
    if (y < 60 || y > window.innerHeight - 60) window.scrollBy({ top: y < 60 ? -14 : 14, behavior: "instant" });
    const box = document.elementsFromPoint(x, y).map(boxAt).find(Boolean); // the bar may lie over it
    if (!box) return;
    press.before.forEach((was, one) => { one.checked = was; });
    between(press.box, box).forEach((one) => { one.checked = press.to; });
    last = box;
    many();
  }, { passive: false });
  selecting.addEventListener("touchend", (event) => {
    if (press?.before) event.preventDefault(); // no click follows
    release();
  });
  selecting.addEventListener("touchcancel", release);
  for (const kind of ["contextmenu", "dragstart"]) { // what a long press is elsewhere
    selecting.addEventListener(kind, (event) => {
      if (tapped && boxAt(event.target)) event.preventDefault();
    });
  }
  selecting.addEventListener("click", (event) => {
    const link = event.target.closest?.(".card > a");
    const box = link && tapped && event.detail && chosen() ? boxAt(link) : null;
    if (!box) return;
    event.preventDefault();
    box.click();
  });
}

// The next page comes by itself when one scrolls to the end of a list.
const growing = document.querySelector(".growing");
const pager = document.querySelector(".pager");
let pages = 1;
let loading = false;

async function grow() {
  const next = growing && pager?.querySelector("[rel=next]");
  if (loading || !next) return false;
  loading = true;
  try {
    const answer = await fetch(next.href);
    if (!answer.ok) return false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    growing.append(...page.querySelectorAll(".growing > *"));
    const after = page.querySelector(".pager [rel=next]");
    if (after) next.href = after.href;
    else next.remove();
    const shown = pager.querySelector(".place");
    const start = Number(shown.textContent.match(/\d+/)[0]);
    shown.textContent = `Pages ${start} to ${start + pages}`;
    pages += 1;
    return true;
  } catch {
    return false;
  } finally {
    loading = false;
  }
}

function growByItself() {
  if (!growing || !pager || !("IntersectionObserver" in window)) return;
  const watcher = new IntersectionObserver(async (seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    watcher.unobserve(pager);
    if (await grow()) watcher.observe(pager); // it is told again if the end is still in sight
  }, { rootMargin: "800px" });
  watcher.observe(pager);
}

// Who comes back to a list, or has changed something there, finds the same part of it.
const LEFT = "facesearch left";
const kept = () => ({ path: window.location.pathname, pages, down: window.scrollY });

function left() {
  try {
    const told = JSON.parse(window.sessionStorage.getItem(LEFT));
    window.sessionStorage.removeItem(LEFT);
    if (told?.path === window.location.pathname && document.querySelector(".toast")) return told;
  } catch {
    // A browser may keep nothing.
  }
  return window.history.state?.pages > 1 ? window.history.state : null;
}

document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  try {
    window.sessionStorage.setItem(LEFT, JSON.stringify(kept()));
  } catch {
    // The page then begins at its top.
  }
});
window.addEventListener("pagehide", () => window.history.replaceState(kept(), ""));
(async () => {
  const before = left();
  if (before) {
    window.history.scrollRestoration = "manual";
    while (pages < before.pages && await grow());
    window.scrollTo({ top: before.down, behavior: "instant" });
  }
  growByItself();
})();

// The photos are looked through with the arrow keys; Escape goes back to all of them.
document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
  const places = { ArrowLeft: ".through [rel=prev]", ArrowRight: ".through [rel=next]", Escape: ".through a" };
  document.querySelector(places[event.key] ?? "#nothing")?.click();
});

document.querySelectorAll(".listing:not(.staying) select").forEach((choice) => {
  choice.addEventListener("change", () => choice.form.requestSubmit());
});

// What was done is said once, not again when the page is loaded again.
if (document.querySelector(".toast")) {
  const here = new URL(window.location.href);
  for (const name of ["did", "undone"]) here.searchParams.delete(name);
  window.history.replaceState(null, "", here);
}
