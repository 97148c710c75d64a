// The cards beside the sound: which one is heard, which word of it, and what is found in them.
const MOST_HITS = 500;
const FOUND = "found";

export class Transcript {
  #place;
  #turns = new Map();
  #heard = null;
  #word = null;

  constructor(place) {
    this.#place = place;
  }

  /** Turns as the timeline has them. */
  set(turns) {
    this.#turns = new Map(turns.map((turn) => [turn.n, turn]));
  }

  card(number) { return this.#place.querySelector(`#turn-${number}`); }

  choose(number, { scroll = true } = {}) {
    for (const card of this.#place.querySelectorAll(".is-chosen")) card.classList.remove("is-chosen");
    const card = this.card(number);
    card?.classList.add("is-chosen");
    if (scroll) card?.scrollIntoView({ block: "nearest" });
  }

  /** Mark what is heard at this moment: the line, and of the assistant's words the one. */
  follow(at, playing) {
    let turn = null;
    for (const one of this.#turns.values()) if (one.from <= at && at <= one.to + 500) turn = one;
    const card = playing && turn ? this.card(turn.n) : null;
    const line = card ? [...card.querySelectorAll(".line")].findLast((one) => Number(one.dataset.at) <= at) : null;
    if (line !== this.#heard) {
      this.#heard?.removeAttribute("data-heard");
      line?.setAttribute("data-heard", "");
      this.#heard = line ?? null;
    }
    const place = line?.classList.contains("line-agent") ? turn.words.findLastIndex((start) => start <= at) : -1;
    const word = place >= 0 ? words(line.querySelector(".heard"))[place] ?? null : null;
    if (word !== this.#word) {
      this.#word?.removeAttribute("data-now");
      word?.setAttribute("data-now", "");
      this.#word = word;
    }
  }

  /** Mark a text wherever it stands, over the edges of words too; gives how often. The first hit is shown. */
  find(text) {
    CSS.highlights.delete(FOUND);
    const wanted = text.trim().toLocaleLowerCase();
    if (!wanted) return 0;
    const hits = [];
    for (const place of this.#place.querySelectorAll(".line .said, .inline")) {
      if (hits.length < MOST_HITS) hits.push(...ranges(place, wanted));
    }
    CSS.highlights.set(FOUND, new Highlight(...hits));
    hits[0]?.startContainer.parentElement.scrollIntoView({ block: "center" });
    return hits.length;
  }
}

/** Where a text stands within an element, whatever elements its letters are in. */
function* ranges(place, wanted) {
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  const nodes = [];
  let whole = "";
  while (walker.nextNode()) {
    nodes.push([whole.length, walker.currentNode]);
    whole += walker.currentNode.data;
  }
  const lower = whole.toLocaleLowerCase();
  if (lower.length !== whole.length) return; // a letter that becomes two: places would be wrong
  const put = (range, edge, at) => {
    const [from, node] = nodes.findLast(([start]) => start <= at);
    range[edge](node, at - from);
  };
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, at + wanted.length)) {
    const range = new Range();
    put(range, "setStart", at);
    put(range, "setEnd", at + wanted.length);
    yield range;
  }
}

/** The words of a heard text as elements; they are made when it is heard for the first time. */
function words(place) {
  if (!place) return [];
  if (!place.dataset.worded) {
    place.dataset.worded = "1";
    const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
    const nodes = [];
    while (walker.nextNode()) if (!walker.currentNode.parentElement.closest(".visually-hidden")) nodes.push(walker.currentNode);
    for (const node of nodes) {
      node.replaceWith(...node.data.split(/(\s+)/).filter(Boolean).map((part) => {
        if (/^\s+$/.test(part)) return document.createTextNode(part);
        const word = document.createElement("span");
        word.className = "word";
        word.textContent = part;
        return word;
      }));
    }
  }
  return place.querySelectorAll(".word");
}
