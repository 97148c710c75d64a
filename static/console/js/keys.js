// The keyboard: one table of what every page has; a screen adds its own by `keys()`.
export const MAP = [];
