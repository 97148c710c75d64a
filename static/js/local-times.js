// Times are written in the server's zone, which they name. With this script they are the reader's, the server's on hover.
const DAY = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const FORMS = {
  moment: { ...DAY, ...CLOCK },
  day: DAY,
  clock: CLOCK,
  exact: { ...CLOCK, fractionalSecondDigits: 3 },
};

for (const time of document.querySelectorAll("time[data-local]")) {
  time.title = time.textContent;
  time.textContent = new Intl.DateTimeFormat("en-GB", FORMS[time.dataset.local]).format(new Date(time.dateTime));
}
