// The stored theme, before the first paint: a classic script in the head. shell.js switches it.
try {
  const stored = localStorage.getItem("theme");
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
} catch { /* storage is off: the system's theme */ }
