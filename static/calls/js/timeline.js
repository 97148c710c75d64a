// An offset plays the recording from there. Without this script its link opens the recording at that second.
const player = document.getElementById("player");

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[data-seek]") : null;
  if (!player || !link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  player.currentTime = Math.max(0, Number(link.dataset.seek) - 0.5);
  // A browser may refuse to play; the position is set all the same.
  player.play().catch(() => {});
});
