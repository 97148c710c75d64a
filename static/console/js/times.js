// <time data-local=…> in the reader's zone, UTC on hover; for what is added later too.
const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const FORMS = {
  moment: { ...DAY, ...CLOCK },
  day: DAY,
  clock: CLOCK,
  exact: { ...CLOCK, fractionalSecondDigits: 3 },
};
const { lang } = document.documentElement;
const locale = lang.startsWith("en") ? "en-GB" : lang;

/** Rewrite the times within `root`. */
export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-local]:not([title])")) {
    time.title = time.textContent;
    time.textContent = new Intl.DateTimeFormat(locale, FORMS[time.dataset.local]).format(new Date(time.dateTime));
  }
}

localTimes();
document.addEventListener("console:added", (event) => localTimes(event.target));
