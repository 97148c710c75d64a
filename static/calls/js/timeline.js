// An offset, or a place on the ribbon, plays the recording from there, and what is being played is marked.
// Without this script the offset's link opens the recording at that second.
const player = document.getElementById("player");
const places = [...document.querySelectorAll("a[data-seek]")];

function playFrom(seconds) {
  player.currentTime = seconds;
  // A browser may refuse to play; the position is set all the same.
  player.play().catch(() => {});
}

function markPlayed() {
  const played = places.findLast((place) => Number(place.dataset.seek) <= player.currentTime);
  for (const place of places) {
    place.closest(".said").toggleAttribute("data-played", place === played && !player.paused);
  }
}

if (player) {
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[data-seek]") : null;
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    playFrom(Number(link.dataset.seek));
  });
  for (const heard of ["timeupdate", "pause", "seeked"]) player.addEventListener(heard, markPlayed);

  const ribbon = document.querySelector(".ribbon");
  ribbon?.classList.add("is-seekable");
  ribbon?.addEventListener("click", (event) => {
    const box = ribbon.getBoundingClientRect();
    playFrom(((event.clientX - box.left) / box.width) * Number(ribbon.dataset.seconds));
  });
}
